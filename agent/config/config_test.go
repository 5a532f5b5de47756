package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
)

var update = flag.Bool("update", false, "write the files that are compared with")

const casesDir = "../../testdata/config"

// meter is a driver's Config with settings of many types.
type meter struct {
	Address   string             `yaml:"address" doc:"where it is"`
	Unit      int64              `yaml:"unit" doc:"its number"`
	Timeout   time.Duration      `yaml:"timeout" doc:"how long to wait"`
	Registers []register         `yaml:"registers" doc:"what to read"`
	Factors   map[string]float64 `yaml:"factors" doc:"by channel"`
	Strange   chan int           `yaml:"strange"`
}

type register struct {
	Channel string           `yaml:"channel"`
	Address *int             `yaml:"address"`
	Kind    string           `yaml:"kind"`
	Scale   *float64         `yaml:"scale"`
	Output  bool             `yaml:"output"`
	Most    float64          `yaml:"most"`
	Unit    string           `yaml:"unit"`
	Enum    map[int64]string `yaml:"enum"`
}

func (m *meter) Validate() (out []drivers.FieldError) {
	if m.Address == "" {
		out = append(out, drivers.FieldError{Field: "address", Problem: "no address", Hint: "write host:port"})
	}
	if len(m.Registers) == 0 {
		out = append(out, drivers.FieldError{Problem: "nothing to read", Hint: "write registers"})
	}
	for i, r := range m.Registers {
		if r.Address != nil && *r.Address > 65535 {
			out = append(out, drivers.FieldError{
				Field: fmt.Sprintf("registers[%d].address", i), Got: fmt.Sprint(*r.Address),
				Problem: "address is out of range, 0 to 65535",
			})
		}
	}
	return out
}

func (m *meter) Open(context.Context, drivers.Host) (drivers.Device, error) {
	return nil, errors.New("no hardware here")
}

// Claims is an I2C part where the address is of one.
func (m *meter) Claims() []drivers.Claim {
	bus, address, ok := strings.Cut(m.Address, "@")
	if !ok {
		return nil
	}
	return drivers.ClaimI2C(bus, address)
}

func (m *meter) Channels() (out []drivers.Channel) {
	kinds := map[string]tidegate.Kind{"": tidegate.KindFloat, "bool": tidegate.KindBool, "text": tidegate.KindText, "on": tidegate.KindBool}
	for _, r := range m.Registers {
		c := drivers.Channel{Name: r.Channel, Kind: kinds[r.Kind], Unit: r.Unit, Output: r.Output, Limits: drivers.Limits{Max: r.Most}}
		if r.Kind == "on" { // where it is safe
			c.Limits.Safe = tidegate.Bool(true)
		}
		out = append(out, c)
	}
	return out
}

// talker is the Config of a driver that waits for its device and whose channels nobody knows beforehand.
type talker struct {
	Port string `yaml:"port" doc:"serial port"`
	Baud string `yaml:"baud" doc:"settings of the port"`
	Sole bool   `yaml:"sole" doc:"nobody else can use it"`
}

// Ports is empty for the default port: most cases have several talkers and mean something else.
func (t *talker) Ports() []drivers.PortUse {
	if t.Port == "/dev/ttyUSB0" {
		return nil
	}
	return []drivers.PortUse{{Port: t.Port, Settings: t.Baud, IsSole: t.Sole}}
}

// Claims is the line that turns the port.
func (t *talker) Claims() []drivers.Claim {
	if !strings.Contains(strings.ToLower(t.Baud), "gpio") {
		return nil
	}
	c := drivers.ClaimLine("baud", t.Baud)
	c.For = t.Port
	return []drivers.Claim{c}
}

func (t *talker) Validate() []drivers.FieldError { return nil }

func (t *talker) Open(context.Context, drivers.Host) (drivers.Device, error) {
	return nil, errors.New("no hardware here")
}

func testDrivers() []drivers.Driver {
	return []drivers.Driver{
		{Name: "meter", Every: time.Second, New: func() drivers.Config { return &meter{Unit: 1, Timeout: time.Second} }},
		{Name: "talker", New: func() drivers.Config { return &talker{Port: "/dev/ttyUSB0"} }},
	}
}

// testCase is one folder of testdata/config, set up in a directory of its own.
type testCase struct {
	path    string // what is loaded
	machine machine
}

// setUp copies the folder to an empty directory, goes there and follows its setup.txt, a command in each line:
//
//	chmod MODE FILE | mkdir DIR | pipe NAME | socket NAME | link TARGET NAME | write FILE TEXT | append FILE TIMES TEXT | load PATH | hostname NAME
//	cert CERT KEY NAME FROM TO      a certificate and its key, valid between two dates
//	key FILE                        a key alone
func setUp(t *testing.T, dir string) testCase {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.CopyFS(".", os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(p, 0o644)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	c := testCase{path: "tidegate.yaml", machine: machine{drivers: testDrivers(), hostname: "bench", now: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)}}
	text, err := os.ReadFile("setup.txt")
	if errors.Is(err, fs.ErrNotExist) {
		return c
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if err := c.command(strings.Fields(line), strings.TrimSuffix(line, "\n")); err != nil {
			t.Fatalf("setup.txt: %s: %v", line, err)
		}
	}
	return c
}

func (c *testCase) command(words []string, line string) error {
	last := func(n int) string { return strings.SplitN(line, " ", n)[n-1] }
	switch words[0] {
	case "chmod":
		mode, err := strconv.ParseUint(words[1], 8, 32)
		return errors.Join(err, os.Chmod(words[2], fs.FileMode(mode)))
	case "mkdir":
		return os.Mkdir(words[1], 0o755)
	case "pipe":
		return syscall.Mkfifo(words[1], 0o600)
	case "socket":
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		return errors.Join(err, syscall.Bind(fd, &syscall.SockaddrUnix{Name: words[1]}), syscall.Close(fd))
	case "link":
		return os.Symlink(words[1], words[2])
	case "write":
		text, err := strconv.Unquote(last(3))
		return errors.Join(err, os.WriteFile(words[1], []byte(text), 0o600))
	case "append":
		n, err := strconv.Atoi(words[2])
		text, err2 := strconv.Unquote(last(4))
		f, err3 := os.OpenFile(words[1], os.O_APPEND|os.O_WRONLY, 0)
		if err := errors.Join(err, err2, err3); err != nil {
			return err
		}
		_, err = f.WriteString(strings.Repeat(text, n))
		return errors.Join(err, f.Close())
	case "load":
		c.path = words[1]
		return nil
	case "hostname":
		c.machine.hostname = last(2)
		return nil
	case "cert":
		return makeCert(words[1], words[2], words[3], words[4], words[5])
	case "key":
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		return errors.Join(err, writeKey(words[1], key))
	}
	return errors.New("unknown command")
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return errors.Join(err, os.WriteFile(path, text, 0o600))
}

func makeCert(certFile, keyFile, name, from, to string) error {
	notBefore, err1 := time.Parse(time.DateOnly, from)
	notAfter, err2 := time.Parse(time.DateOnly, to)
	key, err3 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: strings.ReplaceAll(name, "+", " ")},
		NotBefore: notBefore, NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return errors.Join(err, os.WriteFile(certFile, text, 0o644), writeKey(keyFile, key))
}

// TestCases loads each folder of testdata/config and compares what is said with its want.txt. Together they reach every Site.
func TestCases(t *testing.T) {
	entries, err := os.ReadDir(casesDir)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[strict.Site]bool{}
	for _, e := range entries {
		if e.Name() == "drivers" {
			continue // those are for real drivers, see package describe
		}
		t.Run(e.Name(), func(t *testing.T) {
			wantFile, err := filepath.Abs(filepath.Join(casesDir, e.Name(), "want.txt"))
			if err != nil {
				t.Fatal(err)
			}
			c := setUp(t, filepath.Join(casesDir, e.Name()))
			cfg, faults, err := load(c.path, c.machine)
			var got strings.Builder
			for _, f := range faults {
				seen[f.Site] = true
				fmt.Fprintln(&got, f)
			}
			if (cfg == nil) != (err != nil) || err != nil && !errors.Is(err, ErrRefused) {
				t.Fatalf("config %v, error %v", cfg, err)
			}
			if err == nil {
				fmt.Fprintln(&got, "good")
			}
			if *update {
				if err := os.WriteFile(wantFile, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(wantFile)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got.String(), want)
			}
			if good := strings.HasPrefix(e.Name(), "good_"); good != strings.HasSuffix(string(want), "good\n") {
				t.Errorf("name and want.txt differ: files called good_... are accepted, others are not")
			}
		})
	}
	if t.Failed() || flagRun() {
		return
	}
	for _, site := range slices.Sorted(maps.Keys(sites(t))) {
		if !seen[site] {
			t.Errorf("no file in testdata/config leads to the fault %q", site)
		}
	}
}

// flagRun reports whether only some of the tests run.
func flagRun() bool {
	f := flag.Lookup("test.run")
	return f != nil && strings.Contains(f.Value.String(), "/")
}

// sites returns all constants of type Site in this package and strict with the number of places that use them.
func sites(t *testing.T) map[strict.Site]int {
	t.Helper()
	out := map[strict.Site]int{}
	for _, dir := range []string{".", "strict"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		names, uses := map[string]strict.Site{}, map[string]int{}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ValueSpec:
					if typ := typeName(n.Type); typ == "Site" {
						text, err := strconv.Unquote(n.Values[0].(*ast.BasicLit).Value)
						if err != nil {
							t.Fatal(err)
						}
						names[n.Names[0].Name] = strict.Site(text)
						return false
					}
				case *ast.Ident:
					uses[n.Name]++
				}
				return true
			})
		}
		for name, site := range names {
			if _, twice := out[site]; twice {
				t.Errorf("fault %q stands twice", site)
			}
			out[site] = uses[name]
		}
	}
	return out
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// TestSitesAreUsedOnce: a Site names one place of the code, so that reaching it means reaching that place.
func TestSitesAreUsedOnce(t *testing.T) {
	all := sites(t)
	if len(all) < 80 {
		t.Fatalf("found %d sites only", len(all))
	}
	for site, n := range all {
		if n != 1 {
			t.Errorf("fault %q is used at %d places, want 1", site, n)
		}
	}
}
