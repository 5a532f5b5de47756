package mutants

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// small is a module whose tests see some mutants, and not others.
var small = map[string]string{
	"go.mod": "module small\n\ngo 1.24\n",
	"small.go": `package small

func Even(n int) int {
	if n < 0 {
		return -Even(-n)
	}
	for n%2 != 0 {
		n--
	}
	return n
}
`,
	"small_test.go": `package small

import (
	"os"
	"testing"
)

func TestEven(t *testing.T) {
	for _, n := range []int{2, 3} {
		t.Run(string(rune('0'+n)), func(t *testing.T) {
			if got := Even(n); got != 2 {
				t.Fatalf("got %d", got)
			}
		})
	}
}

func TestDies(t *testing.T) {
	if Even(3) != 2 {
		os.Exit(3)
	}
}

func TestWrong(t *testing.T) { t.Fatal("always") }
`,
}

func TestOutcomes(t *testing.T) {
	b := &Bench{Root: t.TempDir(), Patience: 2 * time.Second}
	for name, text := range small {
		if err := os.WriteFile(filepath.Join(b.Root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const odd = "n%2 != 0"
	for _, c := range []struct {
		m    Mutant
		test string
		err  error
	}{
		{never("is seen", odd, "TestEven"), "TestEven/3", nil},
		{without("hangs as is said", "n--\n", "TestEven").hang(), "TestEven/3", nil},
		{instead("panics", "return n\n", "panic(n)\n", "TestEven"), "TestEven/2", nil},
		{never("survives", "n < 0", "TestEven"), "", ErrSurvived},
		{never("has no test", odd, "TestNone"), "", ErrNoTest},
		{never("ends all", odd, "TestDies"), "TestDies", nil},
		{instead("ends before", "package small", "package small\n\nvar _ = func() int { panic(1) }()", "TestEven"), "", ErrDied},
		{without("hangs", "n--\n", "TestEven"), "", ErrHang},
		{never("does not hang", odd, "TestEven").hang(), "", ErrNoHang},
		{instead("does not build", "return n\n", "return m\n", "TestEven"), "", ErrBuild},
		{never("is not there", "n > 0", "TestEven"), "", ErrTable},
		{never("is there twice", "return", "TestEven"), "", ErrTable},
	} {
		t.Run(c.m.Name, func(t *testing.T) {
			c.m.File = "small.go"
			if test, err := b.Try(t.Context(), &c.m); !errors.Is(err, c.err) || test != c.test {
				t.Fatalf("got %q, %v; want %q, %v", test, err, c.test, c.err)
			}
		})
	}
	for _, c := range []struct {
		tests []string
		err   error
	}{
		{[]string{"TestEven"}, nil},
		{[]string{"TestEven/3", "TestDies"}, nil},
		{[]string{"TestEven", "TestWrong"}, ErrBaseline},
		{[]string{"TestEven", "TestNone"}, ErrNoTest},
		{[]string{"TestNone"}, ErrNoTest},
	} {
		if err := b.Baseline(t.Context(), ".", c.tests...); !errors.Is(err, c.err) {
			t.Errorf("%q: got %v, want %v", c.tests, err, c.err)
		}
	}
}
