// Package faults holds the tests that hurt naru on purpose: they kill its daemon at random instants, exchange its
// program under load, and take the disk, the memory and the process ids away from it. Each ends with what was promised
// being so, and with a kernel that holds nothing that is naru's. All randomness comes from -seed, so that a failure can
// be repeated; -kills and -cycles make the runs long.
package faults
