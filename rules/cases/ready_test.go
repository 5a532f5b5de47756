package cases

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReady: the rules that come with the manual do what their cases say, and their page shows them as they are.
func TestReady(t *testing.T) {
	page, err := os.ReadFile("../ready/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../ready/*.yaml")
	if err != nil || len(files) != 6 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text := string(b)
			r := try(t, text)
			var out strings.Builder
			if err := r.Write(&out, false); err != nil || !r.Good {
				t.Errorf("%s%v", &out, err)
			}
			for _, word := range []string{"fault: {", "restart: gateway", "until:", "raised:", "want: []"} {
				if !strings.Contains(text, word) {
					t.Errorf("no case with %s", word)
				}
			}
			if !strings.Contains(text, "Try it: tidegate rules test "+name+"\n") {
				t.Error("the first line does not say how to try it")
			}
			block := text[strings.Index(text, "rules:\n"):strings.Index(text, "cases:\n")]
			if !strings.Contains(string(page), "File: ["+name+"]("+name+")\n\n```yaml\n"+block+"```\n") {
				t.Errorf("the page has not this block:\n%s", block)
			}
		})
	}
	if n := strings.Count(string(page), "- **It does not see**"); n != len(files) {
		t.Errorf("%d of %d sections say what their rule does not see", n, len(files))
	}
}
