package deb

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// An owner of gateways publishes releases by the commands of ota/publish/README.md.
type owner struct {
	t    *testing.T
	dir  string // with the keys, and the repository repo
	tool string // tidegate-release
}

// newOwner makes keys and a repository of no release in dir, by the program tool.
func newOwner(t *testing.T, dir, tool string) *owner {
	t.Helper()
	w := &owner{t: t, dir: dir, tool: tool}
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "phrase"), []byte("correct horse battery\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.do(`
for name in alice bob carol; do
	tidegate-release keys new --role root --out $name-root.key --passphrase-file phrase
	tidegate-release keys new --role targets --out $name-targets.key --passphrase-file phrase
done
tidegate-release keys new --role snapshot --plain --out snapshot.key
tidegate-release keys new --role timestamp --plain --out timestamp.key
tidegate-release init --dir repo \
	--root-key alice-root.key.pub --root-key bob-root.key.pub --root-key carol-root.key.pub \
	--targets-key alice-targets.key.pub --targets-key bob-targets.key.pub --targets-key carol-targets.key.pub \
	--snapshot-key snapshot.key.pub --timestamp-key timestamp.key.pub
tidegate-release sign --dir repo --role root --key alice-root.key --passphrase-file phrase
mkdir -p stick
cp repo/draft/root.json stick/
tidegate-release sign --in stick/root.json --key bob-root.key --out stick/bob-root.sig --passphrase-file phrase
tidegate-release attach --dir repo stick/bob-root.sig
`)
	return w
}

// do runs commands in the owner's folder.
func (w *owner) do(commands string) {
	w.t.Helper()
	c := exec.Command("/bin/sh", "-euc", commands)
	c.Dir = w.dir
	c.Env = append(os.Environ(), "PATH="+filepath.Dir(w.tool)+":"+os.Getenv("PATH"))
	if out, err := c.CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
}

// public is the folder that a server hands out.
func (w *owner) public() string { return filepath.Join(w.dir, "repo", "public") }

// root is what gateways trust at first.
func (w *owner) root() string { return filepath.Join(w.public(), "1.root.json") }

// publish releases a program for Linux on that architecture. It returns the names by which its files may be asked for, whole and as a delta.
func (w *owner) publish(counter uint64, version, arch, program string) (files []string) {
	w.t.Helper()
	w.do(fmt.Sprintf(`
tidegate-release add --dir repo --counter %d --version %s --program linux-%s=%s
tidegate-release sign --dir repo --role targets --key alice-targets.key --passphrase-file phrase
tidegate-release sign --dir repo --role targets --key carol-targets.key --passphrase-file phrase
tidegate-release publish --dir repo --snapshot-key snapshot.key --timestamp-key timestamp.key
tidegate-release verify --dir repo
`, counter, version, arch, program))
	list, err := os.ReadDir(w.public())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range list {
		if strings.Contains(f.Name(), fmt.Sprintf(".tidegate-%d-", counter)) && !strings.HasSuffix(f.Name(), ".cdx.json") {
			files = append(files, f.Name())
		}
	}
	return files
}

// releases are the programs that are published, by what is wrong with them; the key of a good one begins with v.
type releases map[string]string

// newReleases builds them for that architecture into dir.
func newReleases(t *testing.T, arch, dir string, good, bad []string) releases {
	t.Helper()
	list := releases{}
	build := func(name, pkg string, set ...string) {
		list[name] = filepath.Join(dir, name)
		if err := bed.CompileFor(arch, pkg, list[name], set...); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range good {
		build(v, "./cmd/tidegate", "version="+v)
	}
	for _, kind := range bad {
		build(kind, "./testdata/rig/update/bad", "kind="+kind)
	}
	return list
}
