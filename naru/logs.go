package naru

// LogLimits bound what is kept of what a container prints: so many files of a size each, of which the oldest goes. Zero
// is the default, 3 files of 10 MiB.
type LogLimits struct {
	FileBytes int64 `json:"file_bytes,omitempty"`
	Files     int   `json:"files,omitempty"`
}
