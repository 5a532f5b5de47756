package tidegate

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

func TestLabels(t *testing.T) {
	for _, tt := range []struct {
		l    Labels
		want string
		err  string
	}{
		{nil, "", ""},
		{Labels{"mode": "auto", "batch": "4711"}, `{"batch":"4711","mode":"auto"}`, ""},
		{Labels{"a": "<\"ä\n\u2028"}, `{"a":"<\"ä\n\u2028"}`, ""},
		{Labels{"a": strings.Repeat("x", 256)}, `{"a":"` + strings.Repeat("x", 256) + `"}`, ""},
		{Labels{"": "x"}, "", `label "": name is empty`},
		{Labels{"a b": "x"}, "", `label "a b": name contains ' ', allowed are A-Z a-z 0-9 . _ -`},
		{Labels{"a": ""}, "", "label a: text is empty"},
		{Labels{"a": strings.Repeat("x", 257)}, "", "label a: text is 257 bytes long, at most 256 are allowed"},
		{Labels{"a": "\xff"}, "", "label a: text is not UTF-8"},
	} {
		err := tt.l.Check()
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%v: got %v, want %s", tt.l, err, tt.err)
			}
			continue
		}
		if got := tt.l.String(); got != tt.want || err != nil {
			t.Errorf("%v: got %s, %v, want %s", tt.l, got, err, tt.want)
		}
		back := Labels{}
		if tt.want != "" && (json.Unmarshal([]byte(tt.want), &back) != nil || !maps.Equal(back, tt.l)) {
			t.Errorf("%s: got %v back, want %v", tt.want, back, tt.l)
		}
	}
	many := Labels{}
	for _, name := range strings.Split("abcdefghijklmnopq", "") {
		many[name] = "x"
	}
	if err := many.Check(); err == nil || err.Error() != "got 17 labels, want at most 16" {
		t.Errorf("got %v", err)
	}
}
