// Package strict reads JSON (RFC 8259) that two readers cannot understand in two ways: what is signed must mean the same to whoever signed it
// and to whoever checks it. A name twice at any level, a name in other letters than asked, bytes that are no UTF-8, null and whatever stands
// behind the value are refused; encoding/json takes the last of two names, ignores case and lets null pass as "nothing there".
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrRefused is wrapped by all errors of this package.
var ErrRefused = errors.New("JSON is refused")

const (
	// MaxDepth is how deep objects and arrays may lie in each other.
	MaxDepth = 32
	// MaxInteger is the highest number: up to here all readers of JSON are exact (RFC 8259 section 6).
	MaxInteger = 1<<53 - 1
)

// Decode reads one JSON value into v, a pointer. Of an object that becomes a struct, fields are known by the names of their json tags, each has
// to be there once, and there is no other; fields with omitempty or omitzero may be missing. A number for an integer has neither fraction nor
// exponent and fits.
func Decode(b []byte, v any) error {
	if err := walk(b, nil); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := json.Unmarshal(b, v, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if name := missing(reflect.TypeOf(v), b); name != "" {
		return fmt.Errorf("%w: got no %q", ErrRefused, name)
	}
	return nil
}

// Check looks at one JSON value of any form: all its numbers are plain integers from 0 to MaxInteger, so neither "-1" nor "1.0" nor "1e3".
func Check(b []byte) error {
	if err := walk(b, plain); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return nil
}

// Canonical returns the one way to write b (RFC 8785): values that mean the same are the same bytes. It refuses what Check refuses.
func Canonical(b []byte) ([]byte, error) {
	if err := Check(b); err != nil {
		return nil, err
	}
	v := jsontext.Value(bytes.Clone(b))
	if err := v.Canonicalize(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return v, nil
}

// walk looks at each part of the one value that b is, and shows its numbers to number.
func walk(b []byte, number func(string) error) error {
	d := jsontext.NewDecoder(bytes.NewReader(b)) // it refuses names that stand twice, and what is no UTF-8
	for first := true; first || d.StackDepth() > 0; first = false {
		t, err := d.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("got no value")
		case err != nil:
			return err
		case d.StackDepth() > MaxDepth:
			return fmt.Errorf("got depth %d at byte %d, want at most %d", d.StackDepth(), d.InputOffset(), MaxDepth)
		case t.Kind() == 'n':
			return fmt.Errorf("got null at %q, want a value or nothing", d.StackPointer())
		case t.Kind() == '0' && number != nil:
			if err := number(t.String()); err != nil {
				return fmt.Errorf("%w at %q", err, d.StackPointer())
			}
		}
	}
	end := d.InputOffset()
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("got a value of %d bytes and more behind it, %d in all", end, len(b))
	}
	return nil
}

func plain(number string) error {
	if n, err := strconv.ParseUint(number, 10, 64); err != nil || n > MaxInteger {
		return fmt.Errorf("got number %s, want an integer from 0 to %d", number, uint64(MaxInteger))
	}
	return nil
}

// missing names the first field of a struct that b, which was read as t, does not have.
func missing(t reflect.Type, b jsontext.Value) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct && b.Kind() == '{':
		var fields map[string]jsontext.Value
		if err := json.Unmarshal(b, &fields); err != nil {
			return err.Error() // it was read before
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() || name == "-" {
				continue
			}
			if name == "" {
				name = f.Name
			}
			below, ok := fields[name]
			if !ok && !strings.Contains(options, "omit") {
				return name
			}
			if ok {
				if m := missing(f.Type, below); m != "" {
					return name + "." + m
				}
			}
		}
	case t.Kind() == reflect.Slice && b.Kind() == '[':
		var parts []jsontext.Value
		if err := json.Unmarshal(b, &parts); err != nil {
			return err.Error() // it was read before
		}
		for i, p := range parts {
			if m := missing(t.Elem(), p); m != "" {
				return fmt.Sprintf("%d.%s", i, m)
			}
		}
	}
	return ""
}
