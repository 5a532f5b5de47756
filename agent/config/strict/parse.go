// Package strict decodes one YAML file into structs and says all that is wrong with it, each with line, column and a hint.
//
// What counts as YAML here is less than YAML: README.md of package config has the rules for users. In short: one document of at
// most 512 KiB, 64 levels deep; spaces for indentation; no tags, directives, merge keys or complex keys; anchors and aliases for
// values, within a budget. What a word means is decided by the setting it stands for, not by its look: `no` is the text "no" where
// a text is wanted and refused where true or false is wanted. All this is checked before or while the parser works, so that a
// hostile file costs less than a second and a few megabytes.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The limits of a file.
const (
	MaxBytes = 512 << 10 // length
	maxMarks = 30_000    // values, keys, commas, brackets, lines: about what the parser makes tokens of
	maxDepth = 64        // levels of lists and keys
	maxKeys  = 300       // keys in one block: the parser's time grows with their square
	maxAlias = 30_000    // values reached through aliases
)

// A Doc is one parsed file with all that was found wrong with it so far. It is not safe for concurrent use.
type Doc struct {
	file    string
	body    ast.Node                   // nil = there is nothing to decode
	anchors map[string]*ast.AnchorNode // by name
	places  map[string]place           // where a key's value stands, by its path
	faults  []Fault
	untold  int // faults beyond keepFaults
}

// place says where a value stands.
type place struct {
	line, col int
	inner     int // characters from col to the value's first character; -1 = the value is folded or escaped
}

// New returns a Doc for the file called name, which says nothing yet.
func New(name string) *Doc {
	return &Doc{file: name, anchors: map[string]*ast.AnchorNode{}, places: map[string]place{}}
}

// Faults returns all that was found wrong, in the order of the file.
func (d *Doc) Faults() []Fault { return sorted(d.file, d.faults, d.untold) }

// Sound reports whether nothing but warnings was found.
func (d *Doc) Sound() bool {
	for _, f := range d.faults {
		if !f.Warning {
			return false
		}
	}
	return true
}

// at notes a fault at a line and column.
func (d *Doc) at(line, col int, key string, site Site, got, hint string, args ...any) {
	if len(d.faults) >= keepFaults {
		d.untold++
		return
	}
	f := newFault(d.file, site, args...)
	f.Line, f.Col, f.Key, f.Got, f.Hint = line, col, key, got, hint
	d.faults = append(d.faults, f)
}

// Refuse notes that the file named at key path, or the document itself where path is "", is not used.
func (d *Doc) Refuse(path string, r *Refusal) {
	p := d.place(path)
	d.at(p.line, p.col, path, r.Site, r.Got, r.Hint, r.Args...)
}

// Parse reads text, which Decode then decodes.
func (d *Doc) Parse(text []byte) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	if !d.checkText(text) {
		return
	}
	tokens := lexer.Tokenize(string(text))
	if !d.checkTokens(tokens) {
		return
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.notYAML(err)
		return
	}
	if len(file.Docs) > 0 {
		d.body = file.Docs[0].Body
	}
	if d.body == nil {
		d.at(0, 0, "", emptyFile, "", "was it cut short? the sample file shows what belongs into it")
		return
	}
	ast.Walk(anchorFinder{d}, d.body)
}

// notYAML notes what the parser could not read.
func (d *Doc) notYAML(err error) {
	line, col, text := 0, 0, ""
	var se yaml.Error
	if errors.As(err, &se) { // whose Error would show the text around, at a cost that grows with its square
		text = se.GetMessage()
		if t := se.GetToken(); t != nil && t.Position != nil {
			line, col = t.Position.Line, max(1, t.Position.Column)
		}
	} else {
		text = err.Error()
	}
	d.at(line, col, "", syntax, "", "check indentation, quotes and brackets here and in the line above", text)
}

// checkText looks at the text as such: what the lexer must not see.
func (d *Doc) checkText(text []byte) bool {
	line, marks := 1, 0
	start, indent := 0, true
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		col := func() int { return utf8.RuneCount(text[start:i]) + 1 }
		switch {
		case r == utf8.RuneError && n <= 1:
			d.at(line, col(), "", notUTF8, fmt.Sprintf("byte 0x%02x", text[i]), "save the file as UTF-8")
			return false
		case r == '\t' && indent:
			d.at(line, col(), "", tabIndent, "", "indent with spaces")
			return false
		case r < ' ' && r != '\n' && r != '\t', r >= 0x7f && r < 0xa0, r == 0x2028, r == 0x2029, r == 0xfeff:
			d.at(line, col(), "", controlByte, "", `remove it, or write it as an escape in double quotes`, r)
			return false
		}
		marks += markCost(r)
		i += n
		indent = indent && r == ' '
		if r == '\n' {
			line, start, indent = line+1, i, true
		}
	}
	if marks > maxMarks {
		d.at(0, 0, "", tooMany, fmt.Sprint(marks), "leave out what is not needed, or share lists with an anchor and aliases", maxMarks)
		return false
	}
	return true
}

// markCost returns what r costs of maxMarks: about the tokens that the lexer makes where it stands.
func markCost(r rune) int {
	switch r {
	case '\n', ',', '[', ']', '{', '}', ':', '!', '?', '|', '>', '%', '-', '\'', '"':
		return 1
	case '&', '*':
		return 4
	}
	return 0
}

// nesting follows the levels of lists and keys from token to token.
type nesting struct {
	flow   int // within brackets
	levels []level
}

// level is one level of block nesting: the column at which its keys or entries stand.
type level struct {
	col  int
	keys int
}

// checkTokens looks at what the lexer found: what the parser must not see.
func (d *Doc) checkTokens(tokens token.Tokens) bool {
	var nest nesting
	content := 0
	for _, t := range tokens {
		line, col := t.Position.Line, t.Position.Column
		if t.Type == token.CommentType {
			continue
		}
		content++
		switch t.Type {
		case token.DocumentHeaderType, token.DocumentEndType:
			if content > 1 {
				d.at(line, col, "", documents, Show(t.Value), "one file holds one configuration")
				return false
			}
		case token.DirectiveType:
			d.at(line, col, "", directive, "", "remove the line")
			return false
		case token.TagType:
			d.at(line, col, "", tagged, Show(t.Value), "remove it, or put the text in quotes")
			return false
		case token.MergeKeyType:
			d.at(line, col, "", mergeKey, "<<", "repeat the keys, or share a list with an anchor and aliases")
			return false
		case token.MappingKeyType:
			d.at(line, col, "", complexKey, "?", "write key: value")
			return false
		}
		if keys := nest.next(t); keys > maxKeys {
			d.at(line, col, "", tooManyKeys, "", "is it the right file?", maxKeys)
			return false
		}
		if nest.flow+len(nest.levels) > maxDepth {
			d.at(line, col, "", tooDeep, "", "is it the right file?", maxDepth)
			return false
		}
	}
	return true
}

// next takes one more token, and returns how many keys its block has so far.
func (n *nesting) next(t *token.Token) (keys int) {
	at := t.Position.Column
	switch t.Type {
	case token.SequenceStartType, token.MappingStartType:
		n.flow++
		return 0
	case token.SequenceEndType, token.MappingEndType:
		n.flow = max(0, n.flow-1)
		return 0
	case token.SequenceEntryType:
	case token.MappingValueType:
		if t.Prev != nil {
			at = t.Prev.Position.Column
		}
	default:
		return 0
	}
	if n.flow > 0 {
		return 0
	}
	for len(n.levels) > 0 && n.levels[len(n.levels)-1].col > at {
		n.levels = n.levels[:len(n.levels)-1]
	}
	if len(n.levels) == 0 || n.levels[len(n.levels)-1].col < at {
		n.levels = append(n.levels, level{col: at})
	}
	top := &n.levels[len(n.levels)-1]
	if t.Type == token.SequenceEntryType {
		top.keys = 0 // entries of a list are not keys
	} else {
		top.keys++
	}
	return top.keys
}

// anchorFinder gathers the anchors of a file.
type anchorFinder struct{ d *Doc }

// Visit is called for each node.
func (f anchorFinder) Visit(n ast.Node) ast.Visitor {
	a, ok := n.(*ast.AnchorNode)
	if !ok {
		return f
	}
	name, at := a.Name.String(), a.GetToken().Position
	if first := f.d.anchors[name]; first != nil {
		f.d.at(at.Line, at.Column, "", anchorTwice, "&"+Show(name), "give it another name", first.GetToken().Position.Line)
		return f
	}
	f.d.anchors[name] = a
	return f
}
