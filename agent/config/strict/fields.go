package strict

import (
	"fmt"
	"reflect"
	"strings"
)

// A Field is one setting of a struct.
type Field struct {
	Key   string
	Doc   string // the doc tag
	Check string // the check tag
	Value reflect.Value
}

// Fields returns the settings of the struct v in their order, those of inlined structs included, without the field for the rest of the keys.
func Fields(v reflect.Value) []Field {
	var out []Field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || key == "-" || options == "rest" {
			continue
		}
		if strings.Contains(options, "inline") {
			out = append(out, Fields(v.Field(i))...)
			continue
		}
		if key == "" {
			key = strings.ToLower(f.Name)
		}
		out = append(out, Field{Key: key, Doc: f.Tag.Get("doc"), Check: f.Tag.Get("check"), Value: v.Field(i)})
	}
	return out
}

// restOf returns the field of the struct v that takes the rest of the keys; the zero Value = there is none.
func restOf(v reflect.Value) reflect.Value {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == ",rest" {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// Position returns the line and the column, from 1, at which the value of path stands; for a path that does not stand in the file, those of the
// nearest block around it that does.
func (d *Doc) Position(path string) (line, col int) {
	p := d.place(path)
	return p.line, p.col
}

// place returns where the value of path stands; for a path that does not stand in the file, the nearest block around it that does.
func (d *Doc) place(path string) place {
	for {
		if p, ok := d.places[path]; ok {
			return p
		}
		if path == "" {
			return place{}
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// Place returns where the value of path stands, as "file:line:col"; for a path that does not stand in the file, the nearest block around it
// that does.
func (d *Doc) Place(path string) string {
	p := d.place(path)
	return fmt.Sprintf("%s:%d:%d", d.file, p.line, p.col)
}

// Given reports whether path stands in the file.
func (d *Doc) Given(path string) bool { _, ok := d.places[path]; return ok }

// Line returns the line of path in the file, from 1; for a path that does not stand there, that of the nearest block around it.
func (d *Doc) Line(path string) int { return d.place(path).line }

// Faulty reports whether a fault was noted at path or below.
func (d *Doc) Faulty(path string) bool {
	for _, f := range d.faults {
		if rest, ok := strings.CutPrefix(f.Key, path); ok && !f.Warning && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// Add notes a fault of the value at path.
func (d *Doc) Add(path string, site Site, got, hint string, args ...any) {
	p := d.place(path)
	d.at(p.line, p.col, path, site, got, hint, args...)
}

// AddWithin notes a fault at the character col, from 1, of the text at path.
func (d *Doc) AddWithin(path string, col int, site Site, got, hint string, args ...any) {
	p := d.place(path)
	if p.inner >= 0 {
		p.col += p.inner + col - 1
	}
	d.at(p.line, p.col, path, site, got, hint, args...)
}

// Warn notes a warning about the value at path.
func (d *Doc) Warn(path string, site Site, got, hint string, args ...any) {
	d.warn(func() { d.Add(path, site, got, hint, args...) })
}

// WarnWithin notes a warning about the character col, from 1, of the text at path.
func (d *Doc) WarnWithin(path string, col int, site Site, got, hint string, args ...any) {
	d.warn(func() { d.AddWithin(path, col, site, got, hint, args...) })
}

// WarnRefused notes a warning about the file that the value at path names.
func (d *Doc) WarnRefused(path string, r *Refusal) { d.warn(func() { d.Refuse(path, r) }) }

func (d *Doc) warn(add func()) {
	before := len(d.faults)
	add()
	if len(d.faults) > before {
		d.faults[before].Warning = true
	}
}

// Same reports whether a and b, of one type, have the same settings. What is no setting does not count.
func Same(a, b any) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

func same(a, b reflect.Value) bool {
	if a.IsValid() != b.IsValid() || a.IsValid() && a.Type() != b.Type() {
		return false
	}
	switch {
	case !a.IsValid():
		return true
	case isScalar(a.Type()):
		return a.Comparable() && a.Equal(b)
	}
	switch a.Kind() {
	case reflect.Pointer, reflect.Interface:
		return a.IsNil() == b.IsNil() && same(a.Elem(), b.Elem())
	case reflect.Struct:
		for i, f := range Fields(a) {
			if !same(f.Value, Fields(b)[i].Value) {
				return false
			}
		}
		return true
	case reflect.Slice:
		for i := range min(a.Len(), b.Len()) {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return a.Len() == b.Len()
	case reflect.Map:
		for _, k := range a.MapKeys() {
			if !same(a.MapIndex(k), b.MapIndex(k)) {
				return false
			}
		}
		return a.Len() == b.Len()
	}
	return a.Comparable() && a.Equal(b)
}
