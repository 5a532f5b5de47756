module github.com/tidegate-io/tidegate/testdata/rig/bench

go 1.26.0
