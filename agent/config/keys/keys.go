// Package keys reads the keys that the buffer is sealed with, from files and from credentials of systemd. Nothing that it returns holds one but the keys
// themselves, which print as their names.
package keys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/buffer/seal"
)

// maxBytes is more than any form of a key takes.
const maxBytes = 256

// ErrElsewhere means that a credential is named and that systemd has given this process none: another process is to have it.
var ErrElsewhere = errors.New("systemd gives this process no credentials")

// Path returns the file that source names: source itself, or for credential:NAME the credential of systemd. Errors wrap ErrElsewhere, or say why NAME
// is none.
func Path(source string) (string, error) {
	name, ok := strings.CutPrefix(source, "credential:")
	if !ok {
		return source, nil
	}
	if err := tidegate.CheckName(name); err != nil {
		return "", err
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", ErrElsewhere
	}
	return filepath.Join(dir, name), nil
}

// Read reads the key in the file at path, a Secret of package strict.
func Read(path string) (seal.Key, *strict.Refusal) {
	text, refusal := strict.ReadFile(path, strict.Secret, maxBytes)
	if refusal != nil {
		return seal.Key{}, refusal
	}
	k, err := seal.ParseKey(text)
	if err != nil {
		return seal.Key{}, &strict.Refusal{Site: noKey, Args: []any{err}, Got: strict.Show(path), Hint: "make one by: head -c 32 /dev/urandom | base64"}
	}
	return k, nil
}

// noKey is what can be wrong with a file beyond package strict.
const noKey strict.Site = "file holds no key: %v"

// Load reads the key that is sealed with, "" = none, and those that only open. Errors wrap seal.ErrKey: the store is not to be opened, and nothing is to
// be given up for it.
func Load(source string, old []string) (*seal.Keys, error) {
	var to *seal.Key
	if source != "" {
		k, err := load("buffer.key", source)
		if err != nil {
			return nil, err
		}
		to = &k
	}
	var rest []seal.Key
	for i, s := range old {
		k, err := load(fmt.Sprintf("buffer.old_keys[%d]", i), s)
		if err != nil {
			return nil, err
		}
		rest = append(rest, k)
	}
	k, err := seal.New(to, rest...)
	if err != nil {
		return nil, fmt.Errorf("buffer.old_keys: %w: %w", err, seal.ErrKey)
	}
	return k, nil
}

func load(at, source string) (seal.Key, error) {
	path, err := Path(source)
	if errors.Is(err, ErrElsewhere) {
		err = fmt.Errorf("%s: %w; set LoadCredential= in its unit, or call it with systemd-run and -p LoadCredential=", source, err)
	}
	if err != nil {
		return seal.Key{}, fmt.Errorf("%s: no credential: %w: %w", at, err, seal.ErrKey)
	}
	k, refusal := Read(path)
	if refusal != nil {
		f := strict.Fault{File: at, Problem: fmt.Sprintf(string(refusal.Site), refusal.Args...), Got: refusal.Got, Hint: refusal.Hint}
		return seal.Key{}, fmt.Errorf("%s: %w", f, seal.ErrKey)
	}
	return k, nil
}
