//go:build !race

package config

// slowness is by how much the race detector multiplies time and memory; it does not run.
const slowness = 1
