package serialtext

import "testing"

func TestHear(t *testing.T) {
	for _, c := range []struct{ name, in, what, line string }{
		{"whole lines", "=1\r\nT=20.5 N=17\r\nT=2", `lines of text, for instance "T=20.5 N=17"`, `'^T=(?<v1>-?[0-9.]+) N=(?<v2>-?[0-9]+)$'`},
		{"one line", "p -3.25 hPa\n", `lines of text, for instance "p -3.25 hPa"`, `'^p (?<v1>-?[0-9.]+) hPa$'`},
		{"quotes and signs", "it's (+4)\n", `lines of text, for instance "it's (+4)"`, `'^it''s \((?<v1>-?[0-9]+)\)$'`},
		{"no number", "ready\nready\n", `lines of text, for instance "ready"`, ""},
		{"no end", "T=20.5", "", ""},
		{"binary", "T=20.5\x00\n", "", ""},
		{"wrong speed", "\xf8\xff\x00\x8e\n", "", ""},
		{"nothing", "", "", ""},
		{"too short", "ok\n", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			what, settings := hear([]byte(c.in))
			if what != c.what {
				t.Errorf("heard %q, want %q", what, c.what)
			}
			line := ""
			for _, s := range settings {
				line += s[1]
			}
			if line != c.line {
				t.Errorf("got line %s, want %s", line, c.line)
			}
			if c.line == "" {
				return
			}
			cfg := newConfig()
			cfg.Port = "/dev/ttyUSB0"
			cfg.Line = line[1 : len(line)-1]
			if c.name != "quotes and signs" {
				if faults := cfg.Validate(); len(faults) > 0 {
					t.Errorf("the line that was made is refused: %v", faults)
				}
			}
		})
	}
}
