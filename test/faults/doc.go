// Package faults holds the tests that hurt naru on purpose: they kill its daemon at random instants, exchange its
// program under load, take the disk, the memory and the process ids away from it, and set its clock. Each ends with
// what was promised being so, and with a kernel that holds nothing that is naru's. All randomness comes from -seed, so
// that a failure can be repeated; -kills and -cycles make the runs long.
package faults
