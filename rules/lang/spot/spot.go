// Package spot finds what stands at a place of a text, so that people are shown what is wrong there.
package spot

import (
	"strings"
	"unicode/utf8"
)

// Word returns what stands at a column of text, counted in characters from 1: a text in quotes, a name, a call up to where it is closed, or signs up to white space.
func Word(text string, col int) string {
	r := []rune(text)
	if col > len(r) {
		return ""
	}
	rest := string(r[col-1:])
	n := 0
	for n < len(rest) && isName(rest[n]) {
		n++
	}
	switch open := n < len(rest) && rest[n] == '('; {
	case n > 0 && !open:
		return rest[:n]
	case n > 0:
		if end := closing(rest[n:]); end > 0 {
			n += end
		}
		return rest[:n]
	case rest[0] == '"' || rest[0] == '\'':
		return rest[:quoteLen(rest)]
	}
	for n < len(rest) && strings.IndexByte(" \t\n", rest[n]) < 0 && (n == 0 || strings.IndexByte("()[],", rest[0]) < 0) {
		n++
	}
	return rest[:n]
}

// closing returns how many bytes of text, which begins with a parenthesis or bracket, there are up to where it is closed; 0 when it is not.
func closing(text string) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"', '\'':
			i += quoteLen(text[i:]) - 1
		case '(', '[':
			depth++
		case ')', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// Unclosed returns the column of the last parenthesis or bracket that is not closed, and which it is; 0 when there is none.
func Unclosed(text string) (col int, open byte) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"', '\'':
			i += quoteLen(text[i:]) - 1
		case '(', '[':
			if closing(text[i:]) == 0 {
				col, open = utf8.RuneCountInString(text[:i])+1, text[i]
			}
		}
	}
	return col, open
}

// quoteLen returns how many bytes the text in quotes has that text begins with.
func quoteLen(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[0]:
			return i + 1
		}
	}
	return len(text)
}

// isName reports whether b may stand in a name.
func isName(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '.' || b == '_' || b == '-'
}
