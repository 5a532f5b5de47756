package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Also is asked for each struct of a file, before its keys are decoded, where the keys go that it has no field for. peek returns the
// text of a key's value, "" where there is none. It returns a pointer to another struct, or nil; open = unknown keys are not faults.
type Also func(into any, path string, peek func(key string) string) (other any, open bool)

// A Presetter is a struct that sets its defaults before it is decoded.
type Presetter interface{ Preset() }

// decoder decodes a Doc; faults go to the Doc.
type decoder struct {
	*Doc
	also    Also
	aliases []string // being expanded, outermost first
	spent   int      // values reached through aliases
}

// Decode decodes the document into the struct that into points to; also may be nil. Fields have the tags
//
//	yaml   the key; "-" = no key; ",inline" = the field's own fields are keys here; ",rest" = the field is a map, and takes the keys
//	       that no other field has
//	check  what else a value must be, separated by spaces: "required" (the key must stand there, and not be empty), "filled" (if
//	       it does, not be empty), "min=10ms", "max=5s", "enum=puback|receipt"; "alone" (it stands in a list's entry of its own)
//	       is for package describe only
//	doc    a line of prose, for package describe
//
// Every value that is wrong becomes a fault and leaves its field as it was, so that what can be checked beyond is checked. complete is
// false when the document has no keys or decoding was given up: then there is nothing to check beyond.
func (d *Doc) Decode(into any, also Also) (complete bool) {
	if d.body == nil {
		return false
	}
	if also == nil {
		also = func(any, string, func(string) string) (any, bool) { return nil, false }
	}
	dec := &decoder{Doc: d, also: also}
	n, _ := dec.resolve("", d.body)
	return n != nil && dec.structure("", n, reflect.ValueOf(into).Elem()) && dec.spent < maxAlias
}

// resolve returns what n stands for: the value of an anchor or alias. done is to be called when it was decoded. A nil node means
// that a fault was noted.
func (d *decoder) resolve(path string, n ast.Node) (node ast.Node, done func()) {
	depth := len(d.aliases)
	done = func() { d.aliases = d.aliases[:depth] }
	for {
		switch t := n.(type) {
		case *ast.AnchorNode:
			n = t.Value
		case *ast.AliasNode:
			name, at := t.Value.String(), t.GetToken().Position
			anchor := d.anchors[name]
			if anchor == nil || isAfter(anchor.GetToken().Position, at) {
				d.at(at.Line, at.Column, path, aliasUnknown, "*"+Show(name), "write &"+Show(name)+" before the value that is meant")
				return nil, done
			}
			if slices.Contains(d.aliases, name) || contains(anchor, t) {
				d.at(at.Line, at.Column, path, aliasLoop, "*"+Show(name), "write the value out")
				return nil, done
			}
			d.aliases = append(d.aliases, name)
			n = anchor.Value
		default:
			if len(d.aliases) > 0 {
				if d.spent++; d.spent == maxAlias {
					at := d.anchors[d.aliases[0]].GetToken().Position
					d.at(at.Line, at.Column, path, aliasBomb, "", "write the values out", maxAlias)
				}
				if d.spent >= maxAlias {
					return nil, done
				}
			}
			return n, done
		}
	}
}

// isAfter reports whether a stands behind b in the file.
func isAfter(a, b *token.Position) bool {
	return a.Line > b.Line || a.Line == b.Line && a.Column > b.Column
}

// contains reports whether alias stands inside anchor's value.
func contains(anchor *ast.AnchorNode, alias *ast.AliasNode) bool {
	found := false
	ast.Walk(finder(func(n ast.Node) {
		if n == ast.Node(alias) {
			found = true
		}
	}), anchor.Value)
	return found
}

// finder calls itself for each node.
type finder func(ast.Node)

// Visit is called for each node.
func (f finder) Visit(n ast.Node) ast.Visitor { f(n); return f }

// value decodes n into v.
func (d *decoder) value(path string, n ast.Node, v reflect.Value, check string) {
	d.note(path, n)
	n, done := d.resolve(path, n)
	defer done()
	if n != nil {
		d.resolved(path, n, v, check)
	}
}

// resolved decodes n, which is neither anchor nor alias, into v.
func (d *decoder) resolved(path string, n ast.Node, v reflect.Value, check string) {
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		preset(fresh.Elem())
		before := len(d.faults)
		d.resolved(path, n, fresh.Elem(), check)
		if len(d.faults) == before || fresh.Elem().Kind() == reflect.Struct {
			v.Set(fresh)
		}
		return
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok || isScalar(v.Type()) {
		d.scalar(path, n, v, check)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(path, n, v)
	case reflect.Slice:
		d.list(path, n, v)
	case reflect.Map:
		d.table(path, n, v)
	default:
		p := d.place(path)
		d.at(p.line, p.col, path, unknownType, "", "leave the key out and report this", v.Type())
	}
}

// preset sets the defaults of v where it has any.
func preset(v reflect.Value) {
	if p, ok := v.Addr().Interface().(Presetter); ok {
		p.Preset()
	}
}

// note remembers where the value of path stands.
func (d *decoder) note(path string, n ast.Node) {
	t := first(n)
	p := place{line: t.Position.Line, col: max(1, t.Position.Column), inner: -1}
	if s, ok := n.(*ast.StringNode); ok && !strings.Contains(strings.TrimSpace(t.Origin), "\n") {
		switch s.Token.Type {
		case token.SingleQuoteType:
			p.inner = 1
		case token.DoubleQuoteType:
			if !strings.Contains(t.Origin, `\`) {
				p.inner = 1
			}
		default:
			p.inner = 0
		}
	}
	d.places[path] = p
}

// first returns the token at which n begins: for a block of keys the first key, not its colon.
func first(n ast.Node) *token.Token {
	switch t := n.(type) {
	case *ast.MappingNode:
		if !t.IsFlowStyle && len(t.Values) > 0 {
			return first(t.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return first(t.Key)
	}
	return n.GetToken()
}

// entry is one key of a mapping with its value.
type entry struct {
	key   string
	token *token.Token
	value ast.Node
}

// entries returns the keys of n, each once, with faults noted for the rest; ok is false when n has no keys at all.
func (d *decoder) entries(path string, n ast.Node) (out []entry, ok bool) {
	var values []*ast.MappingValueNode
	switch t := n.(type) {
	case *ast.MappingNode:
		values = t.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{t}
	case *ast.NullNode:
		return nil, true
	default:
		tok := first(n)
		d.at(tok.Position.Line, max(1, tok.Position.Column), path, wantKeys, describe(n), "write key: value, one in a line, indented")
		return nil, false
	}
	seen := map[string]int{}
	for _, v := range values {
		tok := first(v.Key)
		s, isScalar := scalarOf(v.Key)
		if !isScalar {
			d.at(tok.Position.Line, tok.Position.Column, path, notAKey, describe(v.Key), "write key: value")
			continue
		}
		if line, twice := seen[s.text]; twice {
			d.at(tok.Position.Line, tok.Position.Column, join(path, s.text), keyTwice, "", "remove one of them", line)
			continue
		}
		seen[s.text] = tok.Position.Line
		out = append(out, entry{key: s.text, token: tok, value: v.Value})
	}
	return out, true
}

// join returns the path of key within the block at path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// structure decodes the keys of n into the struct v and, where Also says so, into another beside it.
// It reports whether n has keys.
func (d *decoder) structure(path string, n ast.Node, v reflect.Value) bool {
	entries, ok := d.entries(path, n)
	if !ok {
		return false
	}
	fields := Fields(v)
	other, open := d.also(v.Addr().Interface(), path, func(key string) string {
		i := slices.IndexFunc(entries, func(e entry) bool { return e.key == key })
		if i < 0 {
			return ""
		}
		n, done := d.resolve(join(path, key), entries[i].value)
		defer done()
		s, _ := scalarOf(n)
		return s.text
	})
	if other != nil {
		fields = append(fields, Fields(reflect.ValueOf(other).Elem())...)
	}
	given := map[string]bool{}
	var rest []entry
	restField := restOf(v)
	for _, e := range entries {
		given[e.key] = true
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Key == e.key })
		if i >= 0 {
			d.value(join(path, e.key), e.value, fields[i].Value, fields[i].Check)
		} else if restField.IsValid() {
			rest = append(rest, e)
		} else if !open {
			d.at(e.token.Position.Line, e.token.Position.Column, join(path, e.key), unknownKey, "", keyHint(e.key, fields))
		}
	}
	if len(rest) > 0 {
		d.fill(path, rest, restField)
	}
	at := first(n).Position
	for _, f := range fields {
		if !given[f.Key] && slices.Contains(strings.Fields(f.Check), "required") {
			d.at(at.Line, max(1, at.Column), join(path, f.Key), missingKey, "", f.Doc)
		}
	}
	return true
}

// keyHint names the key that was meant, or all there are.
func keyHint(key string, fields []Field) string {
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = f.Key
	}
	if strings.Contains(key, " ") {
		return "put a text with commas or colons in quotes"
	}
	other := "remove it"
	if len(keys) > 0 {
		other = "keys here are " + strings.Join(keys, ", ")
	}
	return DidYouMean(key, keys, other)
}

// list decodes the entries of n into the slice v.
func (d *decoder) list(path string, n ast.Node, v reflect.Value) {
	switch t := n.(type) {
	case *ast.NullNode:
		v.SetZero()
	case *ast.SequenceNode:
		out := reflect.MakeSlice(v.Type(), len(t.Values), len(t.Values))
		for i, e := range t.Values {
			item := out.Index(i)
			preset(item)
			d.value(fmt.Sprintf("%s[%d]", path, i), e, item, "")
		}
		v.Set(out)
	default:
		hint := "write each entry in a line of its own, behind a dash"
		if s, ok := scalarOf(n); ok && isScalar(v.Type().Elem()) {
			hint = "write [" + Show(s.text) + "]"
		}
		p := d.place(path)
		d.at(p.line, p.col, path, wantList, describe(n), hint)
	}
}

// table decodes the keys of n into the map v.
func (d *decoder) table(path string, n ast.Node, v reflect.Value) {
	if entries, ok := d.entries(path, n); ok {
		d.fill(path, entries, v)
	}
}

// fill decodes entries into the map v.
func (d *decoder) fill(path string, entries []entry, v reflect.Value) {
	out := reflect.MakeMapWithSize(v.Type(), len(entries))
	for _, e := range entries {
		at := join(path, e.key)
		key := reflect.New(v.Type().Key()).Elem()
		item := reflect.New(v.Type().Elem()).Elem()
		preset(item)
		d.places[at] = place{line: e.token.Position.Line, col: e.token.Position.Column, inner: -1}
		before := len(d.faults)
		d.text(at, scalar{text: e.key}, key)
		d.value(at, e.value, item, "")
		if len(d.faults) == before {
			out.SetMapIndex(key, item)
		}
	}
	v.Set(out)
}

// describe says what n is, for people.
func describe(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AliasNode:
		return "an alias"
	}
	s, _ := scalarOf(n)
	if s.null {
		return "nothing"
	}
	return Show(s.text)
}
