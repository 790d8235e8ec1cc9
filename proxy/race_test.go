//go:build race

package proxy

// poolMisses is how many allocations of a request are the race detector's doing:
// under it a sync.Pool forgets at random.
const poolMisses = 8
