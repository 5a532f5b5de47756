//go:build race

package config

// slowness is by how much the race detector multiplies time and memory.
const slowness = 10
