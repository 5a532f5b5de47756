package lang

// overTime are the units that a unit becomes when it is summed up over seconds.
var overTime = map[string]string{"W": "J", "A": "As", "m3/s": "m3", "m/s": "m", "1/s": "count", "Hz": "count"}
