package keys

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tidegate-io/tidegate/buffer/seal"
)

const (
	hexKey   = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	otherKey = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	raw, err := hex.DecodeString(hexKey)
	if err != nil {
		t.Fatal(err)
	}
	asHex, asRaw, other := write(t, dir, "hex", hexKey+"\n"), write(t, dir, "raw", string(raw)), write(t, dir, "other", otherKey)
	write(t, dir, "buffer-key", hexKey)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for _, c := range []struct {
		key  string
		old  []string
		want string // to, all
	}{
		{"", nil, "00000000 none"},
		{asHex, nil, "ca2413df ca2413df"},
		{asRaw, []string{asHex}, "ca2413df ca2413df"},
		{"credential:buffer-key", []string{other}, "ca2413df 5b57d3f4, ca2413df"},
		{"", []string{other}, "00000000 5b57d3f4"},
	} {
		k, err := Load(c.key, c.old)
		if err != nil || k.To().String()+" "+k.String() != c.want {
			t.Errorf("%q and %q: got %s %s, %v, want %s", c.key, c.old, k.To(), k, err, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good", hexKey)
	open := write(t, dir, "open", hexKey)
	if err := os.Chmod(open, 0o604); err != nil {
		t.Fatal(err)
	}
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.Symlink(good, link), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	for source, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		link:                       "symbolic link",
		pipe:                       "a pipe",
		dir:                        "a directory",
		open:                       "can be read by every user",
		write(t, dir, "long", strings.Repeat("0", 257)): "longer than 256 bytes",
		write(t, dir, "text", "secret-passphrase"):      "no key",
		"credential:../good":                            "name contains '/'",
		"credential:":                                   "name is empty",
		"credential:good":                               "LoadCredential=",
	} {
		for at, load := range map[string]func() (*seal.Keys, error){
			"buffer.key: ":         func() (*seal.Keys, error) { return Load(source, nil) },
			"buffer.old_keys[1]: ": func() (*seal.Keys, error) { return Load(good, []string{good, source}) },
		} {
			k, err := load()
			if k != nil || !errors.Is(err, seal.ErrKey) || !strings.HasPrefix(err.Error(), at) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", source, err, at+"... "+want)
			}
			if err != nil && strings.Contains(err.Error(), "passphrase") {
				t.Errorf("the error tells what is in the file: %v", err)
			}
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if _, err := Load("credential:none", nil); !errors.Is(err, seal.ErrKey) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}
