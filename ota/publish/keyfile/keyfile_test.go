package keyfile

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age/armor"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// light is the work of the tests.
const light = 4

var phrase = []byte("correct horse battery")

func ask() ([]byte, error) { return phrase, nil }

func never() ([]byte, error) { return nil, errors.New("asked for a passphrase") }

func TestWriteRead(t *testing.T) {
	for _, role := range Roles() {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, plain %t", role, plain), func(t *testing.T) {
				k, err := New(role)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), "key")
				with, read := phrase, ask
				if plain {
					with, read = nil, never
				}
				err = k.Write(path, with, light)
				if plain && role.Offline() {
					if _, e := os.Stat(path); !errors.Is(err, ErrPlain) || !os.IsNotExist(e) {
						t.Fatalf("got %v, want ErrPlain and no file", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				got, err := Read(path, read)
				if err != nil {
					t.Fatal(err)
				}
				public, err := ReadPublic(path + ".pub")
				if err != nil || public != k.Public || got.Public != k.Public || !got.Secret().Equal(k.Secret()) {
					t.Errorf("got %v and %v (%v), want %v", got, public, err, k)
				}
				h, err := hex.DecodeString(public.Key)
				if text := []byte("signed"); err != nil || !ed25519.Verify(h, text, got.Sign(text)) {
					t.Errorf("the signature is not the key's (%v)", err)
				}
				for f, want := range map[string]os.FileMode{path: 0o600, path + ".pub": 0o644} {
					if s, err := os.Stat(f); err != nil || s.Mode().Perm() != want {
						t.Errorf("%s: got mode %v (%v), want %v", f, s.Mode(), err, want)
					}
				}
			})
		}
	}
}

// TestID wants TUF's key ids, as the library that gateways use has them.
func TestID(t *testing.T) {
	for range 10 {
		k, err := New(Root)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := metadata.KeyFromPublicKey(k.Secret().Public())
		if err != nil {
			t.Fatal(err)
		}
		if id, err := theirs.ID(); err != nil || id != k.ID {
			t.Errorf("got id %s, want %s (%v)", k.ID, id, err)
		}
	}
}

// TestSecretIsNowhere looks for the secret in all that can be printed and in the encrypted file.
func TestSecretIsNowhere(t *testing.T) {
	k, err := New(Root)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := k.Write(path, phrase, light); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	seed := k.Secret().Seed()
	for _, text := range []string{string(body), string(public), string(asJSON), fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s", k, k, k, k)} {
		for _, secret := range []string{hex.EncodeToString(seed), string(seed), fmt.Sprint(seed)[1:40], string(phrase)} {
			if strings.Contains(text, secret) {
				t.Errorf("the secret is in %s", text)
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, role Role, with []byte) string {
		k, err := New(role)
		path := filepath.Join(dir, name)
		if err := errors.Join(err, k.Write(path, with, light)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	change := func(path string, f func([]byte) []byte) string {
		b, err := os.ReadFile(path)
		if err := errors.Join(err, os.WriteFile(path, f(b), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	open := write("open", Root, phrase)
	group := write("group", Timestamp, nil)
	if err := errors.Join(os.Chmod(open, 0o604), os.Chmod(group, 0o640)); err != nil {
		t.Fatal(err)
	}
	other := write("other", Snapshot, nil)
	id := func(b []byte) []byte { return bytes.Replace(b, []byte(`"keyid":"`), []byte(`"keyid":"0`), 1) }
	tests := map[string]struct {
		path string
		ask  func() ([]byte, error)
		want string
	}{
		"others can read it":      {open, ask, "key file that others can read: mode 0604; chmod 600 it"},
		"the group can read it":   {group, never, "key file that others can read: mode 0640"},
		"wrong passphrase":        {write("wrong", Root, phrase), func() ([]byte, error) { return []byte("incorrect horse"), nil }, "wrong passphrase"},
		"no passphrase":           {write("none", Root, phrase), func() ([]byte, error) { return nil, nil }, "wrong passphrase"},
		"nobody to ask":           {write("nobody", Root, phrase), never, "asked for a passphrase"},
		"cut short":               {change(write("cut", Root, phrase), func(b []byte) []byte { return b[:len(b)/2] }), ask, "decrypt"},
		"a bit flipped":           {change(write("bit", Root, phrase), func(b []byte) []byte { b[len(b)-60] ^= 1; return b }), ask, ""},
		"another id":              {change(other, id), never, "its secret is that of another key"},
		"a root key made plain":   {change(write("plain", Timestamp, nil), func(b []byte) []byte { return bytes.Replace(b, []byte("timestamp"), []byte("root"), 1) }), never, "key file that is not encrypted"},
		"a role that is none":     {change(write("role", Timestamp, nil), func(b []byte) []byte { return bytes.Replace(b, []byte("timestamp"), []byte("mirror"), 1) }), never, `got role "mirror"`},
		"a public key":            {change(write("public", Timestamp, nil), func([]byte) []byte { b, _ := os.ReadFile(filepath.Join(dir, "other.pub")); return b }), never, "got no seed of 32 bytes"},
		"something else":          {change(write("else", Timestamp, nil), func([]byte) []byte { return []byte("hello") }), never, "got no key; want a file that `tidegate-release keys new` wrote"},
		"two keys":                {change(write("two", Timestamp, nil), func(b []byte) []byte { return append(b, b...) }), never, "got something behind the key"},
		"far too long":            {change(write("long", Timestamp, nil), func([]byte) []byte { return make([]byte, 1<<20) }), never, "got more than 65536 bytes"},
		"more work than a second": {change(write("work", Root, phrase), func(b []byte) []byte { return heavy(t, b) }), ask, "work factor too large"},
		"no file":                 {filepath.Join(dir, "missing"), never, "no such file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k, err := Read(tt.path, tt.ask)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v, want an error with %q", k, err, tt.want)
			}
			if k != nil {
				t.Errorf("got %v beside the error", k)
			}
		})
	}
}

// heavy returns a key file that asks for 2^21 rounds.
func heavy(t *testing.T, body []byte) []byte {
	t.Helper()
	plain, err := io.ReadAll(armor.NewReader(bytes.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	more := regexp.MustCompile(`(-> scrypt \S+ )\d+`).ReplaceAll(plain, []byte("${1}21"))
	if bytes.Equal(more, plain) {
		t.Fatalf("no work in %q", plain[:100])
	}
	var out bytes.Buffer
	w := armor.NewWriter(&out)
	if _, err := w.Write(more); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadPublicRefuses(t *testing.T) {
	dir := t.TempDir()
	k, err := New(Targets)
	path := filepath.Join(dir, "key")
	if err := errors.Join(err, k.Write(path, phrase, light)); err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	short, err := json.Marshal(of(Targets, k.Secret().Public().(ed25519.PublicKey)[:31])) // the library would panic at it
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ body, want string }{
		"a key cut short":  {string(short), "do not belong together"},
		"two keys":         {string(public) + string(public), "got something behind the key"},
		"a private key":    {string(mustRead(t, path)), "it is a private one; its public half is"},
		"nothing":          {"", "got no key; want a .pub"},
		"another id":       {strings.Replace(string(public), `"keyid":"`, `"keyid":"0`, 1), "do not belong together"},
		"another key":      {strings.Replace(string(public), `"public":"`, `"public":"00`, 1), "do not belong together"},
		"an unknown field": {strings.Replace(string(public), `{`, `{"x":1,`, 1), "got no key"},
		"an unknown role":  {strings.Replace(string(public), `targets`, `target`, 1), `got role "target"`},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, "changed")
			if err := os.WriteFile(path, []byte(tt.body), 0o600); err != nil {
				t.Fatal(err)
			}
			if p, err := ReadPublic(path); err == nil || !strings.Contains(err.Error(), tt.want) || p != (Public{}) {
				t.Errorf("got %v, %v, want an error with %q", p, err, tt.want)
			}
		})
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWriteRefuses(t *testing.T) {
	k, err := New(Root)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := k.Write(path, []byte("short"), light); err == nil || !strings.Contains(err.Error(), "got a passphrase of 5 characters, want at least 12") {
		t.Errorf("a short passphrase: got %v", err)
	}
	if err := os.WriteFile(path+".pub", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.Write(path, phrase, light); !errors.Is(err, ErrExists) {
		t.Errorf("its public half is there: got %v, want ErrExists", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the key was written (%v)", err)
	}
	if _, err := New("mirror"); err == nil {
		t.Error("a key for a role that is none was made")
	}
}
