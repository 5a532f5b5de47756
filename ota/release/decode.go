package release

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// ErrCustom is wrapped by errors about signed fields that cannot be read.
var ErrCustom = errors.New("signed fields of a release")

// fileFields and digestFields are the fields of a File and of a Digest.
var (
	fileFields = []string{
		"counter", "version", "goos", "goarch", "goarm", "hardware", "min_agent", "max_agent", "tenant", "stage", "halt", "encoding", "base", "program", "sbom",
	}
	digestFields = []string{"length", "sha256", "sha512"}
)

// Decode reads a File strictly: each field once and by its exact name, no other, nothing null, nothing behind. TUF's canonical JSON, which
// is what the signature covers, has the last of two fields of one name only, so the bytes may not have two; and encoding/json takes
// "COUNTER" for "counter".
func Decode(custom []byte) (f File, err error) {
	if err := exact(custom, fileFields); err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrCustom, err)
	}
	if err := json.Unmarshal(custom, &f); err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrCustom, err)
	}
	if err := f.check(); err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrCustom, err)
	}
	return f, nil
}

// Encode returns f as it is signed, if Decode takes it.
func (f File) Encode() ([]byte, error) {
	if f.Hardware == nil {
		f.Hardware = []string{}
	}
	custom, err := json.Marshal(f)
	if err == nil {
		_, err = Decode(custom)
	}
	if err != nil {
		return nil, err
	}
	return custom, nil
}

// exact says what is wrong with the names in body, the object of a File or a Digest.
func exact(body []byte, names []string) error {
	fields, err := object(body)
	if err != nil {
		return err
	}
	for _, name := range names {
		value, ok := fields[name]
		if !ok {
			return fmt.Errorf("got no %q", name)
		}
		if string(value) == "null" {
			return fmt.Errorf("got null for %q", name)
		}
		delete(fields, name)
		if name == "program" {
			if err := exact(value, digestFields); err != nil {
				return fmt.Errorf("program: %w", err)
			}
		}
	}
	for name := range fields {
		return fmt.Errorf("got the unknown field %.40q", name)
	}
	return nil
}

// object returns the fields of a JSON object as they stand there.
func object(body []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("got text that is no UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("got no object")
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if _, twice := out[name]; twice || !ok {
			return nil, fmt.Errorf("got %.40q twice", name)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		out[name] = value
	}
	if _, err := d.Token(); err != nil { // the brace
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("got something behind the object")
	}
	return out, nil
}
