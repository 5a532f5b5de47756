package i2cmap

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/tidegate-io/tidegate/drivers"
)

//go:embed maps/*.yaml
var builtIn embed.FS

// The largest map file, in bytes, and the most brackets in it: what is nested by the ten thousand takes the parser many seconds.
const (
	maxMap      = 32 << 10
	maxBrackets = 1000
)

// names returns the names of the built-in maps.
func names() []string {
	entries, _ := builtIn.ReadDir("maps") // the folder is in the program
	var out []string
	for _, e := range entries {
		out = append(out, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return out
}

// load returns the map called name: a built-in one, or the file, if there is a slash in name.
func load(name string) (*Map, error) {
	var text []byte
	var err error
	switch {
	case strings.ContainsRune(name, '/'):
		text, err = readFile(name)
	case slices.Contains(names(), name):
		text, err = builtIn.ReadFile(path.Join("maps", name+".yaml"))
	default:
		return nil, fmt.Errorf("is not built in; there are %s; a file needs a slash, for instance ./%s", strings.Join(names(), ", "), "part.yaml")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return parse(text)
}

func readFile(name string) ([]byte, error) {
	switch s, err := os.Stat(name); { // before it is opened: a pipe would wait for a writer
	case err != nil:
		return nil, err
	case !s.Mode().IsRegular():
		return nil, errors.New("is no ordinary file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	text, err := io.ReadAll(io.LimitReader(f, maxMap+1))
	if err == nil && len(text) > maxMap {
		err = fmt.Errorf("is longer than %d bytes", maxMap)
	}
	return text, err
}

// parse reads a map, strictly: no unknown key, no key twice, no wrong type.
func parse(text []byte) (*Map, error) {
	if n := bytes.Count(text, []byte("[")) + bytes.Count(text, []byte("{")); n > maxBrackets {
		return nil, fmt.Errorf("is no map: %d brackets are opened, at most %d are allowed", n, maxBrackets)
	}
	m := &Map{}
	if err := decode(text, m); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("is no map: %s", first)
	}
	return m, nil
}

// decode decodes text into m. The decoder panics where a tag stands before nothing ("registers: !").
func decode(text []byte, m *Map) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it cannot be read (%v): leave out tags, the words behind a !, which no map needs", p)
		}
	}()
	return yaml.UnmarshalWithOptions(text, m, yaml.Strict())
}

// source returns the map that c means, and where its parts stand: in the block, or behind the setting map.
func (c *Config) source() (*Map, []drivers.FieldError) {
	if c.Map == "" {
		return &Map{Identity: c.Identity, Init: c.Init, Settle: c.Settle, Registers: c.Registers}, nil
	}
	if len(c.Identity)+len(c.Init)+len(c.Registers) > 0 || c.Settle != 0 {
		return &Map{}, []drivers.FieldError{{
			Field: "map", Got: c.Map, Problem: "stands beside settings that a map has itself",
			Hint: "leave out identity, init, settle and registers, or map",
		}}
	}
	m, err := load(c.Map)
	if err != nil {
		problem := strings.Map(func(r rune) rune { // one line, whatever the file or its name holds
			if r < ' ' || r == 0x7f {
				return '?'
			}
			return r
		}, err.Error())
		return &Map{}, []drivers.FieldError{{Field: "map", Got: fmt.Sprintf("%.80q", c.Map), Problem: strings.TrimRight(problem, ".")}}
	}
	return m, nil
}
