package mutants

// Areas returns all tables.
func Areas() []Area {
	return []Area{
		{"trust", trust},
		{"bounded", bounded},
		{"release", signed},
		{"fetch", fetched},
		{"delta", packed},
		{"slots", kept},
		{"trial", judged},
		{"ota", ota},
		{"update", update},
		{"publish", published},
		{"seal", sealed},
		{"durable", lasting},
		{"card", spared},
		{"buffer", buffered},
		{"queue", queued},
	}
}
