package api

import (
	"net/netip"
	"time"

	"naru/naru"
)

// NetworkOptions are what a container asks of its networks, beyond the name of the first.
type NetworkOptions struct {
	Aliases  []string      `json:"aliases,omitempty"`  // more names on its first network
	IP       netip.Addr    `json:"ip,omitzero"`        // on its first network
	MAC      string        `json:"mac,omitempty"`      // on its first network
	Networks []NetworkJoin `json:"networks,omitempty"` // further ones
	DNS      []netip.Addr  `json:"dns,omitempty"`      // asked for names that are no container's
	Hosts    []string      `json:"hosts,omitempty"`    // more of /etc/hosts: NAME:ADDRESS

	DNSSearch  []string             `json:"dns_search,omitempty"`  // domains; none: the host's; ".": none
	DNSOptions []string             `json:"dns_options,omitempty"` // of resolv.conf
	PublishAll bool                 `json:"publish_all,omitempty"` // what the image and Expose name, at ports that are chosen
	Expose     []naru.PublishedPort `json:"expose,omitempty"`
}

// NetworkJoin asks for a place on a network.
type NetworkJoin struct {
	Network string     `json:"network"`
	IP      netip.Addr `json:"ip,omitzero"`
	MAC     string     `json:"mac,omitempty"`
	Aliases []string   `json:"aliases,omitempty"`
}

// NetworkEndpoint is a container's place on a network.
type NetworkEndpoint struct {
	Network   string     `json:"network"`
	Interface string     `json:"interface"`
	Addr      netip.Addr `json:"addr"`
	Addr6     netip.Addr `json:"addr6,omitzero"`
}

// Network is a network of the engine.
type Network struct {
	Name       string          `json:"name"`
	Bridge     string          `json:"bridge"`
	Subnet     netip.Prefix    `json:"subnet"`
	Gateway    netip.Addr      `json:"gateway"`
	Subnet6    netip.Prefix    `json:"subnet6,omitzero"`
	Gateway6   netip.Addr      `json:"gateway6,omitzero"`
	Internal   bool            `json:"internal,omitempty"`
	Custom     bool            `json:"custom,omitempty"` // made by name, so that prune may remove it
	CreatedAt  time.Time       `json:"created_at,omitzero"`
	Containers []NetworkMember `json:"containers"` // those that run
}

// NetworkMember is a running container on a network.
type NetworkMember struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	NetworkEndpoint
	Aliases []string `json:"aliases,omitempty"`
}

// NetworkCreate asks for a network; what is zero is chosen.
type NetworkCreate struct {
	Name     string       `json:"name"`
	Subnet   netip.Prefix `json:"subnet,omitzero"`
	Gateway  netip.Addr   `json:"gateway,omitzero"`
	Subnet6  netip.Prefix `json:"subnet6,omitzero"`
	Internal bool         `json:"internal,omitempty"`
}

// NetworkConnect asks to put a container on a network.
type NetworkConnect struct {
	Container string     `json:"container"`
	IP        netip.Addr `json:"ip,omitzero"`
	MAC       string     `json:"mac,omitempty"`
	Aliases   []string   `json:"aliases,omitempty"`
}

// NetworkDisconnect asks to take a container off a network.
type NetworkDisconnect struct {
	Container string `json:"container"`
}

// NetworkPath is how requests reach a container, read from the kernel.
type NetworkPath struct {
	ID   string       `json:"id"`
	Name string       `json:"name"`
	Ways []NetworkWay `json:"ways"`
}

// NetworkWay is how requests reach one port of a container.
type NetworkWay struct {
	Port     uint16       `json:"port,omitempty"` // in the container
	Protocol string       `json:"protocol,omitempty"`
	Hops     []NetworkHop `json:"hops"`
}

// NetworkHop is one station of a way.
type NetworkHop struct {
	Kind        string  `json:"kind"` // host, rule, bridge, veth, inside or process
	Name        string  `json:"name,omitempty"`
	Index       int     `json:"index,omitempty"` // of an interface
	Text        string  `json:"text"`
	Missing     bool    `json:"missing,omitempty"`     // a request ends here
	Connections *uint64 `json:"connections,omitempty"` // that a rule has seen
	Bytes       *uint64 `json:"bytes,omitempty"`       // of their first packets
}
