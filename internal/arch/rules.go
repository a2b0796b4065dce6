package arch

// room is a folder of the tree: its own package and, unless a longer path has a room of its own, all below it.
type room struct {
	path string
	may  []string // rooms it may import, "x/*" for all below x; everybody and its own go without saying
	why  string   // what the rule keeps true, in words
}

// everybody may be imported by every room that has no entry in loners.
var everybody = []string{"naru", "store", "internal/cleanup", "internal/hint"}

// loners import nothing of the tree but what their row says, not even everybody.
var loners = []string{"naru", "store", "internal/cleanup", "internal/hint", "internal/arch", "edge/router", "cmd/naru-keeper",
	"engine/sandbox/bare", "engine/sandbox/fork", "engine/sandbox/inside", "engine/sandbox/program", "engine/logs", "examples"}

// rooms is the layout, from the top of the tree down. Imports go strictly down:
// cmd → faces → delivery, edge → target → engine → its parts.
var rooms = []room{
	{"cmd/naru", []string{"api", "dockerapi", "ociruntime/command", "web", "delivery", "edge", "target", "engine", "registry", "engine/*", "delivery/*", "edge/*", "target/*"},
		"the wiring is the only package that knows all others"},
	{"cmd/naru-keeper", []string{"engine/keeper", "engine/sandbox/inside", "engine/sandbox/bare", "engine/sandbox/program", "engine/sandbox/fork", "engine/logs"},
		"the tiny binary is every container's init: each package it links is paid for at each start"},

	{"api", []string{"delivery", "delivery/*", "edge", "edge/*", "target", "engine", "engine/*", "registry"},
		"a face translates between people and the hops; it stands above them and beside the other faces"},
	{"dockerapi", []string{"engine", "engine/*", "delivery/builder"},
		"Docker's words mean containers and builds, never apps"},
	{"cmd/naru-oci", []string{"engine/keeper", "engine/rootless", "ociruntime/command"},
		"a container engine starts it for each step of a container's life: it links what that takes and no more"},
	{"ociruntime/command", []string{"ociruntime", "engine/rootless"}, "a command line, and no more"},
	{"ociruntime", []string{"engine/sandbox", "engine/sandbox/fork", "engine/rootless", "engine/netdev"},
		"runc's words mean one container at a time, without a daemon: the sandbox alone starts it"},
	{"web", []string{"api"},
		"the web face shows what the API tells"},

	{"delivery", []string{"target"},
		"hops meet in package naru's values and in small interfaces that the consumer declares, not in each other"},
	{"delivery/source", nil, "source turns a folder into words: no hop, no machine"},
	{"delivery/pipeline", []string{"target"}, "hops do not import each other"},
	{"delivery/builder", []string{"engine/image", "engine/sandbox"},
		"BuildKit works on the engine's own image store, and its RUN steps are sandboxes"},
	{"delivery/release", []string{"target"}, "hops do not import each other"},
	{"delivery/rollout", []string{"target"}, "hops do not import each other"},

	{"edge/router", []string{"naru"},
		"the request path touches neither store nor engine: it reads one immutable table"},
	{"edge/dns", nil, "the name server answers from one immutable table"},

	{"target", nil, "the contract speaks of sets and traffic, so that a cluster can keep it as well as a machine"},
	{"target/memory", []string{"target"}, "the in-memory target needs nothing of a machine"},
	{"target/suite", []string{"target"}, "the contract's tests know only the contract"},
	{"target/machine", []string{"target", "engine", "engine/*"}, "releases become containers here and nowhere else"},
	{"target/kube", []string{"target"}, "a cluster needs nothing of this machine's engine"},

	{"registry", []string{"engine/image"}, "the registry is a facade over the engine's image store"},

	{"engine", []string{"engine/*"}, "the engine joins its parts and has never heard of apps"},
	{"engine/quota", nil, "a folder and a limit: it knows of nothing that is kept in folders"},
	{"engine/image", []string{"engine/quota"}, "parts of the engine do not know each other; their folders can be bounded"},
	{"engine/sandbox", []string{"engine/sandbox/bare", "engine/sandbox/fork", "engine/sandbox/program"}, "parts of the engine do not know each other"},
	{"engine/sandbox/fork", []string{"engine/sandbox/bare", "engine/sandbox/program"}, "linked into the tiny binary, so it stands alone"},
	{"engine/sandbox/bare", []string{"engine/sandbox/program"}, "it runs where there is no Go runtime: what it links is in its reach"},
	{"engine/sandbox/program", nil, "what the daemon writes and the init inside reads: linked into the tiny binary, so it stands alone"},
	{"engine/sandbox/inside", []string{"engine/sandbox/bare", "engine/sandbox/program"}, "linked into the tiny binary, so it stands alone"},
	{"engine/network", nil, "parts of the engine do not know each other"},
	{"engine/netdev", nil, "names of devices and a namespace: it knows of no container, and naru-oci links it"},
	{"engine/rootless", []string{"engine/sandbox/fork"}, "it makes an ordinary user root of a namespace, and knows nothing of what runs there"},
	{"engine/volume", []string{"engine/quota"}, "parts of the engine do not know each other; their folders can be bounded"},
	{"engine/archive", nil, "parts of the engine do not know each other"},
	{"engine/logs", nil, "linked into the tiny binary, so it stands alone"},
	{"engine/forward", []string{"engine/logs"}, "it hands on what the logs hold, and knows no container but by what it is told"},
	{"engine/keeper", []string{"engine/sandbox/fork", "engine/logs"},
		"the keeper starts processes and writes their logs; for the rest it is a part like the others"},

	{"store", []string{"internal/hint"}, "the store is tables and transactions; nouns go in and out as JSON of their owners"},
	{"naru", nil, "everybody imports the words, so they import nobody"},

	{"internal/arch", nil, "the rules are about the tree, not of it"},
	{"internal/cleanup", nil, "everybody may import it, so it imports nobody"},
	{"internal/enginetest", []string{"engine", "engine/*", "internal/testkit"}, "tests of the engine, and of what stands on it, open a real one"},
	{"internal/hint", nil, "everybody may import it, so it imports nobody"},
	{"internal/testkit", nil, "end-to-end tests see naru from outside: its program, and the kernel"},

	{"test", []string{"internal/testkit"}, "end-to-end tests start the real program; what they know of it is its output"},
	{"bench", []string{"internal/testkit", "api"}, "benchmarks start the real programs, naru's and the peers', and may speak naru's API as any client does"},
	{"examples", nil, "an example is what a user would write"},
}

// library is a dependency whose types must not spread: only the rooms named may import it.
type library struct {
	prefix string
	rooms  []string
	why    string
}

var libraries = []library{
	{"github.com/moby/buildkit", []string{"delivery/builder"}, "BuildKit can be replaced as long as one package knows it"},
	{"github.com/tonistiigi/fsutil", []string{"delivery/builder"}, "it is BuildKit's way to sync files"},
	{"github.com/containerd/containerd/v2", []string{"engine/image", "delivery/builder", "registry"},
		"image stores are containerd's inside engine/image and ours outside"},
	{"k8s.io", []string{"target/kube"}, "naru needs no Kubernetes"},
	{"sigs.k8s.io", []string{"target/kube"}, "naru needs no Kubernetes"},
	{"github.com/compose-spec/compose-go", []string{"delivery/source"}, "the app file's format ends at the first hop"},
	{"modernc.org/sqlite", []string{"store"}, "one package knows which database it is"},
	{"github.com/google/nftables", []string{"engine/network", "internal/testkit"}, "the kernel's network is one part's business; the testkit checks on it"},
	{"github.com/vishvananda/netlink", []string{"engine/network", "engine/netdev"}, "the kernel's network is the business of two parts: naru's own networks, and devices that are only moved"},
	{"github.com/miekg/dns", []string{"edge/dns"}, "names are answered in one place"},
	{"github.com/opencontainers/cgroups", []string{"engine/sandbox"}, "cgroup v1 and v2 differ in one place"},
	{"github.com/spf13/cobra", []string{"cmd/naru", "cmd/naru-oci", "ociruntime/command"}, "the CLI is one face, not a way of life"},
}

// keeperForbids are packages that the tiny binary must not even link: each costs start time or memory in every
// container.
var keeperForbids = []string{"net/http", "crypto/tls", "encoding/json", "encoding/gob", "text/template", "html/template", "regexp", "database/sql"}
