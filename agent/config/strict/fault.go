package strict

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Site is one thing that can be wrong: its text, before the blanks are filled in. Each is used at one place of the code, and a
// test of package config shows that a file in testdata/config reaches it.
type Site string

// What can be wrong with the file as such.
const (
	openFile      Site = "open file: %v"
	symbolicLink  Site = "is a symbolic link"
	notRegular    Site = "is not a file but %s"
	worldWritable Site = "can be changed by every user of the machine"
	worldReadable Site = "can be read by every user of the machine"
	readFile      Site = "read file: %v"
	tooLarge      Site = "file is longer than %d bytes"
	emptyFile     Site = "file is empty"
	notUTF8       Site = "not UTF-8 text"
	controlByte   Site = "control character U+%04X"
	tabIndent     Site = "tab in the indentation"
	tooMany       Site = "more than %d values, keys and marks in one file"
)

// What can be wrong with the YAML.
const (
	syntax       Site = "not YAML: %s"
	tooDeep      Site = "nested more than %d levels deep"
	tooManyKeys  Site = "more than %d keys in one block"
	documents    Site = "a second document begins"
	directive    Site = "YAML directives are not used here"
	tagged       Site = "YAML tags are not used here"
	mergeKey     Site = "merge keys are not used here"
	complexKey   Site = "keys with a question mark are not used here"
	anchorTwice  Site = "anchor stands twice, first in line %d"
	aliasUnknown Site = "no anchor of this name stands above"
	aliasLoop    Site = "alias stands inside its own anchor"
	aliasBomb    Site = "aliases expand to more than %d values"
)

// What can be wrong with keys and values.
const (
	notAKey      Site = "a key is wanted"
	keyTwice     Site = "key stands twice, first in line %d"
	unknownKey   Site = "unknown key"
	missingKey   Site = "key is missing"
	wantKeys     Site = "keys with values are wanted"
	wantList     Site = "a list is wanted"
	wantOne      Site = "%s is wanted"
	noValue      Site = "no value"
	emptyText    Site = "text is empty"
	wantInteger  Site = "a whole number is wanted"
	wantNumber   Site = "a number is wanted"
	outOfType    Site = "number is out of range, %s to %s"
	wantBool     Site = "true or false is wanted"
	ambiguous    Site = "neither true or false nor a text in quotes"
	missingUnit  Site = "unit of time is missing"
	wantDuration Site = "a duration is wanted"
	negativeTime Site = "duration is negative"
	notTaken     Site = "%v"
	tooSmall     Site = "less than %s"
	tooGreat     Site = "more than %s"
	unknownWord  Site = "unknown word"
	unknownType  Site = "no file can hold a setting of Go type %s"
	moreFaults   Site = "and %d more faults"
)

// A Fault says what is wrong with a file, where, and what to do about it.
type Fault struct {
	File    string
	Line    int    // from 1; 0 = the file as a whole
	Col     int    // the character in the line, from 1
	Key     string // path of the key, for instance "devices[0].every"; "" = none
	Problem string // what is wrong, lower case, no full stop
	Got     string // what stands there; "" = nothing to show
	Hint    string // what to do about it; "" = none
	Warning bool   // the file can be used all the same
	Site    Site   // the Problem before its blanks were filled in
}

// String returns "file:line:col: key: what is wrong (got X); hint".
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Col)
	}
	b.WriteString(": ")
	if f.Warning {
		b.WriteString("warning: ")
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Problem)
	if f.Got != "" {
		b.WriteString(" (got " + f.Got + ")")
	}
	if f.Hint != "" {
		b.WriteString("; " + f.Hint)
	}
	return b.String()
}

// Show returns s as Got shows it: in quotes where it would not be clear otherwise, at most 60 characters.
func Show(s string) string {
	if utf8.RuneCountInString(s) > 60 {
		s = string([]rune(s)[:57]) + "..."
	}
	plain := s != "" && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == '"' }) < 0
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// maxFaults is how many faults are told of one file, keepFaults how many are remembered to find the first of them.
const (
	maxFaults  = 100
	keepFaults = 1000
)

// sorted returns faults in the order of the file, each once, at most maxFaults of them; untold more are counted.
func sorted(file string, faults []Fault, untold int) []Fault {
	out := slices.Clone(faults)
	slices.SortStableFunc(out, func(a, b Fault) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	out = slices.CompactFunc(out, func(a, b Fault) bool {
		return a.Line > 0 && a.Line == b.Line && a.Col == b.Col && a.Problem == b.Problem && a.Got == b.Got && a.Hint == b.Hint
	})
	if n := max(0, len(out)-maxFaults) + untold; n > 0 {
		out = append(out[:min(maxFaults, len(out))], newFault(file, moreFaults, n))
	}
	return out
}

// newFault returns a fault of the file as a whole.
func newFault(file string, site Site, args ...any) Fault {
	return Fault{File: file, Problem: fmt.Sprintf(string(site), args...), Site: site}
}

// Nearest returns the word of words that text was probably meant to be; ok is false when none is near.
func Nearest(text string, words []string) (word string, ok bool) {
	best := 1 + max(1, len(text)/3)
	low := strings.ToLower(text)
	for _, w := range words {
		d := distance(low, strings.ToLower(w), best)
		if d >= best && len(low) >= 4 && (strings.HasPrefix(w, low) || strings.HasSuffix(w, low)) {
			d = best - 1
		}
		if d < best {
			best, word = d, w
		}
	}
	return word, word != ""
}

// DidYouMean returns the hint `did you mean "x"?`, or the other one when no word is near.
func DidYouMean(text string, words []string, other string) string {
	if w, ok := Nearest(text, words); ok {
		return fmt.Sprintf("did you mean %q?", w)
	}
	return other
}

// distance returns how many letters must be put in, left out, replaced or swapped with their neighbour to make b of a;
// limit when it is limit or more.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, above, two := rows[i%3], rows[(i-1)%3], rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
	}
	return min(limit, rows[len(a)%3][len(b)])
}
