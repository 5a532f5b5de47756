package talker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// lineRules are those of lines.
func lineRules() Rules {
	return Rules{Framing: ByDelimiter, Delimiter: "\n", Around: "\r\n", Patience: time.Second}
}

// run feeds a framer: each string is a chunk of bytes, "|" is a pause. It returns the frames and refusals as text.
func run(f *framer, chunks ...string) []string {
	var out []string
	drain := func() {
		for {
			fr, bad, ok := f.next()
			switch {
			case !ok:
				return
			case bad != "":
				out = append(out, "! "+string(bad))
			case fr.Torn:
			default:
				out = append(out, string(fr.Text))
			}
		}
	}
	for _, c := range chunks {
		if c == "|" {
			if bad := f.pause(); bad != "" {
				out = append(out, "! "+string(bad))
			}
			drain()
			continue
		}
		for len(c) > 0 {
			n := copy(f.room(), c)
			f.added(n)
			c = c[n:]
			drain()
		}
	}
	return out
}

func TestFramer(t *testing.T) {
	long := strings.Repeat("x", MaxFrame)
	shown := `"` + strings.Repeat("x", 64) + `"`
	for name, tc := range map[string]struct {
		set  func(*Rules)
		in   []string
		want []string
	}{
		"line after a pause is whole":                          {in: []string{"|", "T=1\r\nT=2\n"}, want: []string{"T=1", "T=2"}},
		"first line without a pause is dropped without a word": {in: []string{"=1\nT=2\nT=3\n"}, want: []string{"T=2", "T=3"}},
		"line in single bytes":                                 {in: []string{"|", "T", "=", "1", "\r", "\n", "x", "\n"}, want: []string{"T=1", "x"}},
		"blank lines and a CR behind the newline say nothing":  {in: []string{"|", "a\n\rb\n\r\n\n\r", "|", "c\n"}, want: []string{"a", "b", "c"}},
		"half line is dropped at the pause": {
			in:   []string{"|", "a\nT=2", "|", "1.5\nT=3\n"},
			want: []string{"a", `! half_frame: nothing more came of a frame; 3 bytes dropped: "T=2"`, "1.5", "T=3"},
		},
		"second pause in a row means nothing":       {in: []string{"|", "|", "a\n", "|", "|", "b\n"}, want: []string{"a", "b"}},
		"pause before the first boundary makes one": {in: []string{"=1", "|", "T=2\n"}, want: []string{"T=2"}},
		"longest line": {in: []string{"|", long + "\n"}, want: []string{long}},
		"line too long is refused once and the next one taken": {
			in:   []string{"|", long + "x\nT=2\n"},
			want: []string{"! frame_too_long: more than 4096 bytes without an end of frame; dropped up to the next one; it begins with " + shown, "T=2"},
		},
		"longest frame is waited for": {in: []string{"|", long}},
		"one byte more is not": {
			in:   []string{"|", long + "x"},
			want: []string{"! frame_too_long: more than 4096 bytes without an end of frame; dropped up to the next one; it begins with " + shown},
		},
		"megabyte without a newline is refused once": {
			in:   []string{"|", strings.Repeat("x", 1<<20), "|", "rest\nT=2\n"},
			want: []string{"! frame_too_long: more than 4096 bytes without an end of frame; dropped up to the next one; it begins with " + shown, "T=2"},
		},
		"line too long is refused even before the first boundary": {
			in:   []string{long + long, "\nT=2\n"},
			want: []string{"! frame_too_long: more than 4096 bytes without an end of frame; dropped up to the next one; it begins with " + shown, "T=2"},
		},
		"delimiter of two bytes that comes in two chunks": {
			set: func(c *Rules) { c.Delimiter = "\r\n" }, in: []string{"|", "a\nb\r", "\nc\r\n"}, want: []string{"a\nb", "c"},
		},
		"delimiter of two bytes after a line too long": {
			set: func(c *Rules) { c.Delimiter = "#;" }, in: []string{"|", long + "#", "#", ";", "a#;"},
			want: []string{"! frame_too_long: more than 4096 bytes without an end of frame; dropped up to the next one; it begins with " + shown, "a"},
		},
		"start text makes the first line whole": {
			set: func(c *Rules) { c.Start = "$" }, in: []string{"GGA,1\n$A\nx$B\n"},
			want: []string{"A", `! half_frame: 1 bytes stand before the start of a frame: "x"`, "B"},
		},
		"first line with a start in its middle": {set: func(c *Rules) { c.Start = "$" }, in: []string{"GG$A\n"}, want: []string{"A"}},
		"interrupted line before a start text": {
			set: func(c *Rules) { c.Start = "$" }, in: []string{"|", "$GPG$GPRMC\n"},
			want: []string{`! half_frame: 4 bytes stand before the start of a frame: "$GPG"`, "GPRMC"},
		},
		"line without a start text": {
			set: func(c *Rules) { c.Start = "\x02" }, in: []string{"|", "a\n\x02b\x0d\n"},
			want: []string{`! no_start: frame does not begin with "\x02": "a"`, "b"},
		},
		"fixed length after a pause": {
			set: func(c *Rules) { c.Framing, c.Length = ByLength, 4 }, in: []string{"zz", "|", "abcdefgh", "ij", "|", "klmn"},
			want: []string{"abcd", "efgh", `! half_frame: nothing more came of a frame; 2 bytes dropped: "ij"`, "klmn"},
		},
		"fixed length without pause and start finds no boundary": {
			set: func(c *Rules) { c.Framing, c.Length = ByLength, 64 }, in: []string{long, long[:64], "|", long[:64]},
			want: []string{"! no_start: no pause in more than 4096 bytes to tell where a frame begins: " + shown, long[:64]},
		},
		"fixed length finds its start": {
			set: func(c *Rules) { c.Framing, c.Length, c.Start = ByLength, 5, "AB" }, in: []string{"xA", "yAB123", "zABA", "B1AB", "123"},
			want: []string{"123", `! half_frame: 1 bytes stand before the start of a frame: "z"`, "AB1", "123"},
		},
		"idle time": {
			set:  func(c *Rules) { c.Framing = ByIdle },
			in:   []string{"rest", "|", "a", "b\r\n", "|", "|", "c", "|", long + "x", "|", "d", "|"},
			want: []string{"ab", "c", "! frame_too_long: more than 4096 bytes without an end of frame; dropped up to the next one; it begins with " + shown, "d"},
		},
		"idle time with a start text": {
			set: func(c *Rules) { c.Framing, c.Start = ByIdle, ":" }, in: []string{"|", "x:a", "|", "b", "|"},
			want: []string{`! half_frame: 1 bytes stand before the start of a frame: "x"`, "a", `! no_start: frame does not begin with ":": "b"`},
		},
		"binary frames keep CR and LF": {
			set: func(c *Rules) { c.Framing, c.Length, c.Around = ByLength, 4, "" }, in: []string{"|", "\r\n\r\n"}, want: []string{"\r\n\r\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := lineRules()
			if tc.set != nil {
				tc.set(&c)
			}
			if got := run(newFramer(c), tc.in...); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tc.want) {
				t.Errorf("got\n%q, want\n%q", got, tc.want)
			}
		})
	}
}

func TestFramerFindsItsStepAfterUselessFrames(t *testing.T) {
	c := lineRules()
	c.Framing, c.Length, c.Start = ByLength, 4, "$"
	f := newFramer(c)
	f.pause()
	f.added(copy(f.room(), "$1$a"))
	if fr, _, ok := f.next(); !ok || string(fr.Text) != "1$a" {
		t.Fatalf("got %q %v", fr.Text, ok)
	}
	f.verdict(false) // out of step: the second $ was the real one
	if got := run(f, "bc$xyz"); fmt.Sprint(got) != "[abc xyz]" {
		t.Fatalf("got %q", got)
	}

	c.Start = ""
	f = newFramer(c)
	run(f, "|", "abcd")
	for range 3 {
		f.verdict(false)
	}
	if got := run(f, "efgh", "|", "ijkl"); fmt.Sprint(got) != "[ijkl]" {
		t.Fatalf("after three useless frames: got %q", got)
	}
	f.verdict(true)
	if got := run(f, "mnop"); fmt.Sprint(got) != "[mnop]" {
		t.Fatalf("after a useful frame: got %q", got)
	}
}

func TestFramerKeepsTheHalfForTheNextFrame(t *testing.T) {
	c := lineRules()
	f := newFramer(c)
	run(f, "|", "T=2", "|")
	f.added(copy(f.room(), "1.5\r\nT=3\n"))
	fr, _, _ := f.next()
	if string(fr.Half) != "T=2" || string(f.joined(fr)) != "T=21.5" {
		t.Fatalf("got half %q, joined %q", fr.Half, f.joined(fr))
	}
	if fr, _, _ = f.next(); len(fr.Half) != 0 {
		t.Fatalf("half %q outlives its frame", fr.Half)
	}
}

// TestFramerDoesNotCareForChunks cuts the same bytes at random places.
func TestFramerDoesNotCareForChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := lineRules()
		switch rapid.IntRange(0, 4).Draw(t, "framing") {
		case 1:
			c.Delimiter = "ab"
		case 2:
			c.Start = "ba"
		case 3:
			c.Framing, c.Length, c.Start = ByLength, 7, "ab"
		case 4:
			c.Framing, c.Length = ByLength, 3
		}
		in := rapid.StringOfN(rapid.RuneFrom([]rune("ab\n\rx")), 0, 300, -1).Draw(t, "in")
		cuts := rapid.SliceOfN(rapid.IntRange(1, 9), 1, 50).Draw(t, "cuts")
		var chunks []string
		for rest, i := in, 0; rest != ""; i++ {
			n := min(cuts[i%len(cuts)], len(rest))
			chunks = append(chunks, rest[:n])
			rest = rest[n:]
		}
		whole := run(newFramer(c), "|", in)
		cut := run(newFramer(c), append([]string{"|"}, chunks...)...)
		if c.Framing == ByLength { // how much stray is seen at once does depend on the chunks
			whole, cut = frames(whole), frames(cut)
		}
		if fmt.Sprintf("%q", whole) != fmt.Sprintf("%q", cut) {
			t.Fatalf("whole %q, cut %q", whole, cut)
		}
		if c.Framing == ByDelimiter && c.Start == "" {
			want := strings.Split(in, c.Delimiter)
			var kept []string
			for _, l := range want[:len(want)-1] {
				if l = strings.Trim(l, "\r\n"); l != "" {
					kept = append(kept, l)
				}
			}
			if fmt.Sprintf("%q", whole) != fmt.Sprintf("%q", kept) {
				t.Fatalf("got %q, want %q", whole, kept)
			}
		}
	})
}

func frames(in []string) []string {
	var out []string
	for _, s := range in {
		if !strings.HasPrefix(s, "! ") {
			out = append(out, s)
		}
	}
	return out
}

func TestExcerpt(t *testing.T) {
	for want, in := range map[string]string{
		`""`:                                "",
		`"T=\x00\xff\"\\\r\n\u00e4"`:        "T=\x00\xff\"\\\r\nä",
		`"` + strings.Repeat("a", 64) + `"`: strings.Repeat("a", 64),
		`"` + strings.Repeat(`\x80`, 64) + `" and 36 bytes more`: strings.Repeat("\x80", 100),
	} {
		if got := Excerpt([]byte(in)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
