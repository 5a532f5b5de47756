package spot

import "testing"

func TestWord(t *testing.T) {
	for _, c := range []struct {
		text string
		col  int
		want string
	}{
		{"a.b > 80", 1, "a.b"},
		{"a.b > 80", 5, ">"},
		{"a.b > 80)", 7, "80"},
		{"a.b > 80)", 9, ")"},
		{"max(a, (3)) > 1", 1, "max(a, (3))"},
		{"max(a, 3 > 1", 1, "max"},
		{`f(")", 'x') > 1`, 1, `f(")", 'x')`},
		{`x == "a \" b" or y`, 6, `"a \" b"`},
		{`x == "a`, 6, `"a`},
		{"ü >= 3", 3, ">="},
		{"a", 2, ""},
		{"a", 9, ""},
	} {
		if got := Word(c.text, c.col); got != c.want {
			t.Errorf("%s at %d: got %s, want %s", c.text, c.col, got, c.want)
		}
	}
}

func TestUnclosed(t *testing.T) {
	for text, want := range map[string]int{
		"(a > 3": 1, "(a) > 3": 0, "ü(a": 2, "((a)": 1, "f(a, [1, 2)": 2, `f("(")`: 0, `"(`: 0, "a)": 0, "(a) and (b": 9, "": 0,
	} {
		if col, _ := Unclosed(text); col != want {
			t.Errorf("%s: got column %d, want %d", text, col, want)
		}
	}
}
