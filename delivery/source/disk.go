package source

import (
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/docker/go-units"

	"naru/naru"
)

// disk is what a service may write over its image.
func (c *converter) disk(s types.ServiceConfig) naru.DiskLimit {
	limit, err := naru.ParseDiskLimit(s.StorageOpt, units.RAMInBytes)
	if err != nil {
		c.invalid(c.at(s.Name, "storage_opt"), "%s", err)
	}
	return limit
}

// volumeLimits are the limits of the app's volumes.
func (c *converter) volumeLimits(volumes types.Volumes) map[string]naru.DiskLimit {
	limits := map[string]naru.DiskLimit{}
	for _, name := range slices.Sorted(maps.Keys(volumes)) {
		limit, err := naru.ParseDiskLimit(volumes[name].DriverOpts, units.RAMInBytes)
		if err != nil {
			c.invalid(c.docs.at("volumes", name, "driver_opts"), "%s", err)
		}
		limits[name] = limit
	}
	return limits
}
