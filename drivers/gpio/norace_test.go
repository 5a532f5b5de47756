//go:build !race

package gpio

// slowness is by how much the race detector multiplies the time of the processor; it does not run.
const slowness = 1
