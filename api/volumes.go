package api

import (
	"io/fs"
	"time"

	"naru/naru"
)

// Volume is a named volume.
type Volume struct {
	Name      string         `json:"name"`
	Path      string         `json:"path"` // on the host
	Limit     naru.DiskLimit `json:"limit,omitzero"`
	CreatedAt time.Time      `json:"created_at"`
	UsedBy    []string       `json:"used_by,omitempty"` // names of containers
}

// VolumeCreate asks for a volume.
type VolumeCreate struct {
	Name  string         `json:"name"`
	Limit naru.DiskLimit `json:"limit,omitzero"`
}

// FileChange is a path of a container that differs from its image.
type FileChange struct {
	Kind string `json:"kind"` // A it is new, C changed, or D gone
	Path string `json:"path"`
}

// FileInfo is what a path of a container means, after all symlinks.
type FileInfo struct {
	Name    string      `json:"name"`
	Size    int64       `json:"size"`
	Mode    fs.FileMode `json:"mode"`
	ModTime time.Time   `json:"mod_time"`
}
