package man

import "testing"

func TestManPages(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"options":           {"see --for", `see \-\-for`},
		"backslash":         {`a\b`, `a\eb`},
		"line of a request": {".so /etc/passwd\n'x", "\\&.so /etc/passwd\n\\&'x"},
		"paragraphs":        {"a\n\nb", "a\n.PP\nb"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := roff(tt.text); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
