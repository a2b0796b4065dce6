// Package logs receives what a container writes to its stdout and stderr, owns the files that hold it (a folder per
// container, bounded in size), and hands it on as entries, from the start, from the last n lines, or as it comes.
//
// The keeper writes, the daemon reads, and they share nothing but the folder: numbered segment files of records
// that only ever grow, so that a reader needs no lock and a writer that dies loses at most the record it was writing.
package logs
