package serialtext

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

// Bounds of what is taken for lines of text.
const (
	heardLeast = 3   // characters of a line
	heardMost  = 120 // characters of a line that an expression is made of
)

// digits are what a line's values look like.
var digits = regexp.MustCompile(`[+-]?[0-9]+(\.[0-9]+)?`)

// hear recognises lines of text, and makes the expression that the newest one matches: each number in it becomes a channel v1, v2, ...
func hear(b []byte) (what string, settings [][2]string) {
	line := newestLine(b)
	if line == "" {
		return "", nil
	}
	expr, n, from := "^", 0, 0
	for _, at := range digits.FindAllStringIndex(line, -1) {
		n++
		form := `-?[0-9]+`
		if strings.Contains(line[at[0]:at[1]], ".") {
			form = `-?[0-9.]+`
		}
		expr += fmt.Sprintf(`%s(?<v%d>%s)`, regexp.QuoteMeta(line[from:at[0]]), n, form)
		from = at[1]
	}
	expr += regexp.QuoteMeta(line[from:]) + "$"
	what = fmt.Sprintf("lines of text, for instance %q", line)
	if n == 0 || len(line) > heardMost {
		return what, nil
	}
	return what, [][2]string{{"line", "'" + strings.ReplaceAll(expr, "'", "''") + "'"}}
}

// newestLine returns the last whole line in b without its end; "" where b is not text. The first line counts only where it is the only
// one: its beginning may be missing.
func newestLine(b []byte) string {
	for _, c := range b {
		if c != '\r' && c != '\n' && c != '\t' && (c < ' ' || c > '~') {
			return ""
		}
	}
	end := bytes.LastIndexByte(b, '\n')
	if end < 0 {
		return ""
	}
	start := bytes.LastIndexByte(b[:end], '\n') + 1
	line := strings.TrimRight(string(b[start:end]), "\r")
	if len(line) < heardLeast {
		return ""
	}
	return line
}
