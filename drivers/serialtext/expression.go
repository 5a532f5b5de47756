package serialtext

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// guessTypes says what the named groups of an expression can match: nothing but signs and digits = integer; a decimal mark or an
// exponent as well = number; any other character = to be guessed from each value.
func guessTypes(expr *syntax.Regexp) map[string]string {
	out := map[string]string{}
	var find func(*syntax.Regexp)
	find = func(re *syntax.Regexp) {
		if re.Op == syntax.OpCapture && re.Name != "" {
			out[re.Name] = guessType(re)
		}
		for _, sub := range re.Sub {
			find(sub)
		}
	}
	find(expr)
	return out
}

func guessType(re *syntax.Regexp) string {
	digits, marks, others := false, false, false
	matchable(re, func(lo, hi rune) {
		for r := lo; r <= hi && !others; r++ {
			digits = digits || r >= '0' && r <= '9'
			marks = marks || strings.ContainsRune(".,eE", r)
			others = !strings.ContainsRune("0123456789.,eE+-", r)
		}
	})
	switch {
	case others || !digits:
		return typeGuess
	case marks:
		return typeNumber
	}
	return typeInteger
}

// selfStarting reports whether every line that one of the expressions matches shows by itself that it is whole: each begins with ^
// and a character that can stand nowhere else in such a line, as T in '^T=[0-9]+$'. What is left of a line cut off at its beginning
// has lost that character.
func selfStarting(exprs []*syntax.Regexp) bool {
	heads := map[rune]bool{}
	var rest []*syntax.Regexp
	for _, re := range exprs {
		if re.Op != syntax.OpConcat || len(re.Sub) < 2 || re.Sub[0].Op != syntax.OpBeginText || re.Sub[1].Op != syntax.OpLiteral {
			return false
		}
		literal := *re.Sub[1]
		heads[literal.Rune[0]] = literal.Flags&syntax.FoldCase == 0
		literal.Rune = literal.Rune[1:]
		rest = append(append(rest, &literal), re.Sub[2:]...)
	}
	unique := true
	for _, re := range rest {
		matchable(re, func(lo, hi rune) {
			for head, exact := range heads {
				unique = unique && exact && (head < lo || head > hi)
			}
		})
	}
	return unique && len(rest) > 0
}

// matchable calls see with ranges of all characters that re can match.
func matchable(re *syntax.Regexp, see func(lo, hi rune)) {
	switch re.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		see(0, utf8.MaxRune)
	case syntax.OpCharClass:
		for pair := range slices.Chunk(re.Rune, 2) {
			see(pair[0], pair[1])
		}
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			see(r, r)
			for f := unicode.SimpleFold(r); re.Flags&syntax.FoldCase != 0 && f != r; f = unicode.SimpleFold(f) {
				see(f, f)
			}
		}
	}
	for _, sub := range re.Sub {
		matchable(sub, see)
	}
}
