package trust

// A rotation is a sequence of versions, of which the last one is good or not.
type rotation struct {
	name     string
	bad      bool
	versions []generation
}

var five, rotated, others = []int{0, 1, 2, 3, 4}, []int{0, 1, 3, 4, 5}, []int{5, 6, 7, 8, 9}

func rootRotations() []rotation {
	return []rotation{
		{"1-of-1-key-rotation", false, []generation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 1}}, {[]int{2}, 1, []int{2}}}},
		{"1-of-1-key-rotation-unused-signatures", false, []generation{
			{[]int{1}, 1, []int{3, 1, 4}}, {[]int{2}, 1, []int{3, 2, 1, 4}}, {[]int{2}, 1, []int{3, 2, 4}},
		}},
		{"3-of-5-sign-with-different-keycombos", false, []generation{
			{five, 3, []int{0, 2, 4}}, {five, 3, []int{0, 4, 1}}, {five, 3, []int{0, 1, 3}}, {five, 3, []int{0, 1, 3}},
		}},
		{"3-of-5-one-key-rotated", false, []generation{{five, 3, []int{0, 2, 4}}, {rotated, 3, []int{0, 4, 1}}}},
		{"3-of-5-one-key-rotated-with-intermediate-step", false, []generation{
			{five, 3, []int{0, 2, 4}}, {rotated, 3, []int{0, 2, 4, 5}}, {rotated, 3, []int{0, 4, 5}},
		}},
		{"3-of-5-all-keys-rotated-with-intermediate-step", false, []generation{
			{five, 3, []int{0, 2, 4}}, {others, 3, []int{0, 2, 4, 5, 6, 7}}, {others, 3, []int{5, 6, 7}},
		}},
		{"1-of-3-threshold-increase-to-2-of-3", false, []generation{{[]int{1, 2, 3}, 1, []int{1}}, {[]int{1, 2, 3}, 2, []int{1, 2}}}},
		{"2-of-3-threshold-decrease-to-1-of-3", false, []generation{
			{[]int{1, 2, 3}, 2, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1}},
		}},
		{"1-of-2-threshold-increase-to-2-of-2", false, []generation{{[]int{1}, 1, []int{1}}, {[]int{1, 2}, 2, []int{1, 2}}}},
		{"1-of-1-key-rotation-fail-not-signed-with-old-key", true, []generation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{2, 3, 4}}}},
		{"1-of-1-key-rotation-fail-not-signed-with-new-key", true, []generation{{[]int{1}, 1, []int{1}}, {[]int{2}, 1, []int{1, 3, 4}}}},
		{"3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys", true, []generation{{five, 3, []int{0, 2, 4}}, {rotated, 3, []int{0, 2, 4}}}},
		{"3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys", true, []generation{{five, 3, []int{0, 2, 4}}, {rotated, 3, []int{0, 4, 5}}}},
		{"1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached", true, []generation{
			{[]int{1, 2, 3}, 1, []int{1}}, {[]int{1, 2, 3}, 2, []int{2}},
		}},
		{"2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-reached", true, []generation{
			{[]int{1, 2, 3}, 2, []int{1, 2}}, {[]int{1, 2, 3}, 1, []int{1}},
		}},
	}
}

func otherRotations() []rotation {
	return []rotation{
		{"1-of-1-key-rotation", false, []generation{{[]int{2}, 1, []int{2}}}},
		{"1-of-1-key-rotation-unused-signatures", false, []generation{{[]int{1}, 1, []int{3, 1, 4}}}},
		{"1-of-1-key-rotation-fail-not-signed-with-new-key", true, []generation{{[]int{2}, 1, []int{1, 3, 4}}}},
		{"3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys", true, []generation{{rotated, 3, []int{0, 2, 4}}}},
		{"2-of-5-one-key-signature-missing-threshold-not-reached", true, []generation{{rotated, 3, []int{0, 4}}}},
		{"3-of-5-sign-first-combo", false, []generation{{five, 3, []int{0, 2, 4}}}},
		{"3-of-5-sign-second-combo", false, []generation{{five, 3, []int{0, 4, 1}}}},
		{"3-of-5-sign-third-combo", false, []generation{{five, 3, []int{0, 1, 3}}}},
		{"3-of-5-sign-fourth-combo", false, []generation{{five, 3, []int{1, 2, 3}}}},
		{"3-of-5-sign-fifth-combo", false, []generation{{five, 3, []int{2, 3, 4}}}},
	}
}
