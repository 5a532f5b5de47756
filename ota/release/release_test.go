package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// sha256Hex and sha512Hex are of no bytes that exist.
var (
	sha256Hex = strings.Repeat("0123456789abcdef", 4)
	sha512Hex = strings.Repeat("0123456789abcdef", 8)
)

// good is a file of release 7 for gateways with arm64.
func good() File {
	return File{
		Counter: 7, Version: "v1.4.0", GOOS: "linux", GOARCH: "arm64", Hardware: []string{}, Stage: All, Encoding: Zstd,
		Program: Digest{Length: 12 << 20, SHA256: sha256Hex, SHA512: sha512Hex}, SBOM: sha256Hex,
	}
}

// here is a machine that good fits.
func here() Machine {
	return Machine{Gateway: "gw-1", GOOS: "linux", GOARCH: "arm64", Hardware: []string{"raspberrypi,4-model-b", "brcm,bcm2711"}, Tenant: "acme", Agent: 6}
}

func TestFits(t *testing.T) {
	tests := map[string]struct {
		change func(*File, *Machine)
		want   error
		reason string
	}{
		"any":                         {func(*File, *Machine) {}, nil, ""},
		"another system":              {func(f *File, _ *Machine) { f.GOOS = "freebsd" }, ErrPlatform, "wrong-platform"},
		"another processor":           {func(f *File, _ *Machine) { f.GOARCH = "amd64" }, ErrPlatform, "wrong-platform"},
		"v6 on v6":                    {arm("6", "6"), nil, ""},
		"v6 on v7":                    {arm("6", "7"), nil, ""},
		"v7 on v7":                    {arm("7", "7"), nil, ""},
		"v7 on v6":                    {arm("7", "6"), ErrPlatform, "wrong-platform"},
		"v6 on arm that is not known": {arm("6", ""), ErrPlatform, "wrong-platform"},
		"its hardware":                {func(f *File, _ *Machine) { f.Hardware = []string{"other", "brcm,bcm2711"} }, nil, ""},
		"other hardware":              {func(f *File, _ *Machine) { f.Hardware = []string{"brcm,bcm2835"} }, ErrHardware, "other-hardware"},
		"the start of its hardware":   {func(f *File, _ *Machine) { f.Hardware = []string{"brcm,bcm271"} }, ErrHardware, "other-hardware"},
		"hardware without a name":     {func(f *File, m *Machine) { f.Hardware, m.Hardware = []string{"x"}, nil }, ErrHardware, "other-hardware"},
		"its tenant":                  {func(f *File, _ *Machine) { f.Tenant = "acme" }, nil, ""},
		"another tenant":              {func(f *File, _ *Machine) { f.Tenant = "acm" }, ErrTenant, "other-tenant"},
		"no tenant":                   {func(f *File, m *Machine) { f.Tenant, m.Tenant = "acme", "" }, ErrTenant, "other-tenant"},
		"follows the lowest":          {follows(6, 9, 6), nil, ""},
		"follows the highest":         {follows(2, 6, 6), nil, ""},
		"runs one too old":            {follows(7, 0, 6), ErrAgent, "does-not-follow"},
		"runs one too new":            {follows(0, 5, 6), ErrAgent, "does-not-follow"},
		"not known, above a bound":    {follows(1, 0, 0), ErrAgent, "does-not-follow"},
		"not known, below a bound":    {follows(0, 9, 0), ErrAgent, "does-not-follow"},
		"not known, no bound":         {follows(0, 0, 0), nil, ""},
		"halted":                      {func(f *File, _ *Machine) { f.Halt = true }, ErrHalted, "halted"},
		"at its stage":                {func(f *File, m *Machine) { f.Stage = Bucket(m.Gateway, f.Counter) + 1 }, nil, ""},
		"below its stage":             {func(f *File, m *Machine) { f.Stage = Bucket(m.Gateway, f.Counter) }, ErrStage, "not-yet"},
		"for nobody yet":              {func(f *File, _ *Machine) { f.Stage = 0 }, ErrStage, "not-yet"},
		"held back":                   {func(f *File, _ *Machine) { *f = Hold{7: 0}.Narrow(*f) }, ErrHalted, "halted"},
		"another is held back":        {func(f *File, _ *Machine) { *f = Hold{8: 0}.Narrow(*f) }, nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, m := good(), here()
			tt.change(&f, &m)
			err := f.Fits(m)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if got := Reason(err); got != tt.reason {
				t.Errorf("got reason %q, want %q", got, tt.reason)
			}
		})
	}
}

func arm(file, machine string) func(*File, *Machine) {
	return func(f *File, m *Machine) { f.GOARCH, f.GOARM, m.GOARCH, m.GOARM = "arm", file, "arm", machine }
}

func follows(low, high, agent uint64) func(*File, *Machine) {
	return func(f *File, m *Machine) { f.MinAgent, f.MaxAgent, m.Agent = low, high, agent }
}

func TestReasonOfOthers(t *testing.T) {
	for _, err := range []error{nil, errors.New("release is halted")} {
		if got := Reason(err); got != "" {
			t.Errorf("reason of %v: got %q, want none", err, got)
		}
	}
}

// TestDecode wants one way to write what is signed: TUF signs the last of two fields of one name, and encoding/json takes any case.
func TestDecode(t *testing.T) {
	encoded, err := good().Encode()
	if err != nil {
		t.Fatal(err)
	}
	text := string(encoded)
	if f, err := Decode(encoded); err != nil || !reflect.DeepEqual(f, good()) {
		t.Fatalf("got %+v, %v, want what was encoded", f, err)
	}
	tests := map[string]struct{ old, new string }{
		"nothing":                    {text, ""},
		"null":                       {text, "null"},
		"a list":                     {text, "[]"},
		"cut short":                  {`}`, ``},
		"two values":                 {text, text + "{}"},
		"a brace too many":           {text, text + "}"},
		"no UTF-8":                   {`"v1.4.0"`, "\"v\xff\""},
		"a field twice":              {`"stage":10000`, `"stage":10000,"stage":1`},
		"twice, once escaped":        {`"stage":10000`, `"stage":10000,"st\u0061ge":1`},
		"the wrong case beside it":   {`"stage":10000`, `"stage":10000,"STAGE":1`},
		"the wrong case instead":     {`"stage"`, `"Stage"`},
		"an unknown field":           {`"stage":10000`, `"stage":10000,"more":1`},
		"a missing field":            {`"halt":false,`, ``},
		"null for a field":           {`"halt":false`, `"halt":null`},
		"digest: a field twice":      {`"length":`, `"length":1,"length":`},
		"digest: the wrong case":     {`"length":`, `"Length":`},
		"digest: both cases":         {`"length":`, `"Length":1,"length":`},
		"digest: a missing field":    {`"length":12582912,`, ``},
		"digest: an unknown field":   {`"length":`, `"md5":"","length":`},
		"digest: null":               {`"sha256":"` + sha256Hex + `"`, `"sha256":null`},
		"digest: no object":          {text[strings.Index(text, `"program":`):strings.Index(text, `,"sbom"`)], `"program":1`},
		"counter 0":                  {`"counter":7`, `"counter":0`},
		"counter -1":                 {`"counter":7`, `"counter":-1`},
		"counter with a point":       {`"counter":7`, `"counter":7.0`},
		"counter as text":            {`"counter":7`, `"counter":"7"`},
		"counter 2^53":               {`"counter":7`, `"counter":9007199254740992`},
		"no version":                 {`"v1.4.0"`, `""`},
		"a long version":             {`"v1.4.0"`, `"` + strings.Repeat("1", 65) + `"`},
		"a version of two lines":     {`"v1.4.0"`, `"v1\nv2"`},
		"a version with an escape":   {`"v1.4.0"`, `"\u001b[31m"`},
		"a version that is no ASCII": {`"v1.4.0"`, `"vé"`},
		"a version with a DEL":       {`"v1.4.0"`, `"v\u007f"`},
		"a system of two words":      {`"linux"`, `"li nux"`},
		"a processor of two lines":   {`"arm64"`, `"arm\n64"`},
		"a bound above of 2^53":      {`"max_agent":0`, `"max_agent":9007199254740992`},
		"no system":                  {`"linux"`, `""`},
		"no processor":               {`"arm64"`, `""`},
		"arm without a version":      {`"arm64"`, `"arm"`},
		"arm 5":                      {`"goarch":"arm64","goarm":""`, `"goarch":"arm","goarm":"5"`},
		"arm 10":                     {`"goarch":"arm64","goarm":""`, `"goarch":"arm","goarm":"10"`},
		"a version of arm on arm64":  {`"goarm":""`, `"goarm":"7"`},
		"hardware without a name":    {`"hardware":[]`, `"hardware":[""]`},
		"hardware null":              {`"hardware":[]`, `"hardware":[null]`},
		"too much hardware":          {`"hardware":[]`, `"hardware":["x"` + strings.Repeat(`,"x"`, 32) + `]`},
		"hardware with a long name":  {`"hardware":[]`, `"hardware":["` + strings.Repeat("x", 129) + `"]`},
		"bounds in the wrong order":  {`"min_agent":0,"max_agent":0`, `"min_agent":6,"max_agent":5`},
		"a bound of 2^53":            {`"min_agent":0`, `"min_agent":9007199254740992`},
		"a long tenant":              {`"tenant":""`, `"tenant":"` + strings.Repeat("x", 65) + `"`},
		"a tenant with a space":      {`"tenant":""`, `"tenant":"a b"`},
		"stage -1":                   {`"stage":10000`, `"stage":-1`},
		"stage 10001":                {`"stage":10000`, `"stage":10001`},
		"stage 50.5":                 {`"stage":10000`, `"stage":50.5`},
		"halt 0":                     {`"halt":false`, `"halt":0`},
		"no encoding":                {`"zstd"`, `""`},
		"an unknown encoding":        {`"zstd"`, `"xz"`},
		"a delta of nothing":         {`"zstd"`, `"delta"`},
		"a base without delta":       {`"base":""`, `"base":"` + sha256Hex + `"`},
		"a short base":               {`"encoding":"zstd","base":""`, `"encoding":"delta","base":"` + sha256Hex[1:] + `"`},
		"a list without its hash":    {`"encoding":"zstd"`, `"encoding":"sbom"`},
		"a short hash of the list":   {`"sbom":"`, `"sbom":"00`},
		"no bytes":                   {`"length":12582912`, `"length":0`},
		"too many bytes":             {`"length":12582912`, `"length":268435457`},
		"no SHA-256":                 {`"sha256":"` + sha256Hex, `"sha256":"`},
		"no SHA-512":                 {`"sha512":"` + sha512Hex, `"sha512":"`},
		"upper case in SHA-256":      {`"sha256":"0123456789abcdef`, `"sha256":"0123456789ABCDEF`},
		"SHA-256 in SHA-512":         {`"sha512":"` + sha512Hex, `"sha512":"` + sha256Hex},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(text, tt.old) {
				t.Fatalf("%s is not in %s", tt.old, text)
			}
			changed := strings.Replace(text, tt.old, tt.new, 1)
			if name == "cut short" {
				changed = text[:len(text)-1]
			}
			if name == "a list without its hash" {
				changed = strings.Replace(changed, `"sbom":"`+sha256Hex, `"sbom":"`, 1)
			}
			f, err := Decode([]byte(changed))
			if !errors.Is(err, ErrCustom) || Reason(err) != "bad-fields" {
				t.Errorf("%s: got %v, want ErrCustom", changed, err)
			}
			if !reflect.DeepEqual(f, File{}) {
				t.Errorf("got %+v beside the error", f)
			}
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	f := good()
	f.Counter = 0
	if b, err := f.Encode(); !errors.Is(err, ErrCustom) || b != nil {
		t.Errorf("got %s, %v, want ErrCustom", b, err)
	}
}

func FuzzDecode(f *testing.F) {
	delta := good()
	delta.Encoding, delta.Base, delta.GOARCH, delta.GOARM, delta.Hardware = Delta, sha256Hex, "arm", "6", []string{"a,b"}
	for _, x := range []File{good(), delta} {
		b, err := x.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"counter":7,"COUNTER":8}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrCustom) {
				t.Fatalf("got %v, want ErrCustom", err)
			}
			return
		}
		again, err := x.Encode()
		if err != nil {
			t.Fatalf("encode what %s was decoded as: %v", b, err)
		}
		var one, two any
		if err := errors.Join(json.Unmarshal(b, &one), json.Unmarshal(again, &two)); err != nil || !reflect.DeepEqual(one, two) {
			t.Fatalf("%s is not what it was decoded as: %s (%v)", b, again, err)
		}
	})
}

// TestRollout is R-19 of the requirements: a stage of 10 % is 10 +- 4 % of 200 gateways. By chance alone 96 of 100 releases are within
// that, so of these 100, which are always the same, 92 must be, and all together must be on the mark.
func TestRollout(t *testing.T) {
	within, all := 0, 0
	for counter := range uint64(100) {
		n := 0
		for g := range 200 {
			if Bucket(fmt.Sprintf("gateway-%03d", g), counter+1) < All/10 {
				n++
			}
		}
		if all += n; n >= 12 && n <= 28 {
			within++
		}
	}
	if within < 92 || all < 1900 || all > 2100 {
		t.Errorf("%d of 100 releases reach 12 to 28 of 200 gateways, want 92; %d gateways were reached, want 2000 +- 100", within, all)
	}
}

// TestBucketUniform counts 100,000 gateways in 100 classes: chi squared with 99 degrees of freedom stays below 149 in 999 of 1000 draws,
// and the gateways are always the same.
func TestBucketUniform(t *testing.T) {
	const gateways, classes = 100_000, 100
	var count [classes]float64
	for g := range gateways {
		at := Bucket(fmt.Sprintf("gw-%d", g), 7)
		if at < 0 || at >= All {
			t.Fatalf("got bucket %d", at)
		}
		count[at/(All/classes)]++
	}
	var chi float64
	for _, n := range count {
		d := n - gateways/classes
		chi += d * d / (gateways / classes)
	}
	if chi > 149 {
		t.Errorf("got chi squared %.1f, want at most 149", chi)
	}
}

// TestBucketIndependent wants those who come first with one release not to be those who do with the next, whatever the ids look like.
func TestBucketIndependent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.StringN(0, 20, -1).Draw(t, "prefix")
		counter := rapid.Uint64Range(1, MaxCounter-1).Draw(t, "counter")
		both := 0
		const gateways = 2000
		for g := range gateways {
			id := fmt.Sprintf("%s%d", prefix, g)
			if Bucket(id, counter) < All/10 && Bucket(id, counter+1) < All/10 {
				both++
			}
		}
		if both < 2 || both > 50 { // 20 are expected; 4.4 is the deviation
			t.Fatalf("%d of %d gateways are among the first tenth of both releases, want about %d", both, gateways, gateways/100)
		}
	})
}

func TestBucketNeverMoves(t *testing.T) {
	// Gateways of all versions must agree: where a gateway stands is part of the format.
	for gateway, want := range map[string]Stage{"gw-1": 2910, "gw-2": 7130, "": 6077} {
		if got := Bucket(gateway, 7); got != want {
			t.Errorf("bucket of %q for release 7: got %d, want %d", gateway, got, want)
		}
	}
}

func TestParseStage(t *testing.T) {
	for text, want := range map[string]Stage{"0": 0, "0.01": 1, "5": 500, "12.5": 1250, "12.5%": 1250, "007": 700, "99.99": 9999, "100": All, "100.00": All} {
		if got, err := ParseStage(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "%", "-1", "+1", "1e1", "0x1", "100.01", "101", "1000", "1.234", "1.", ".5", " 5", "NaN", "5%%"} {
		if got, err := ParseStage(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Stage(rapid.IntRange(0, int(All)).Draw(t, "stage"))
		if got, err := ParseStage(strings.ReplaceAll(s.String(), " ", "")); err != nil || got != s {
			t.Fatalf("%v: got %v, %v", s, got, err)
		}
	})
}

func TestDecodeHold(t *testing.T) {
	h, err := DecodeHold([]byte(`{"7":0,"9007199254740991":10000}`))
	if want := (Hold{7: 0, MaxCounter: All}); err != nil || !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, %v, want %v", h, err, want)
	}
	for _, none := range []string{"", "{}"} {
		if h, err := DecodeHold([]byte(none)); err != nil || len(h) != 0 {
			t.Errorf("%q: got %v, %v, want nothing held back", none, h, err)
		}
	}
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf(`"%d":0`, i+1)
	}
	for _, text := range []string{
		`null`, `[]`, `7`, `{"7":0}{}`, `{"7":0,"7":10000}`, `{"7":0,"\u0037":10000}`, `{"07":0}`, `{"+7":0}`, `{"0":0}`, `{"-1":0}`, `{"":0}`,
		`{"9007199254740992":0}`, `{"7":-1}`, `{"7":10001}`, `{"7":1.0}`, `{"7":1e2}`, `{"7":"0"}`, `{"7":null}`, `{"7":false}`, "{" + strings.Join(many, ",") + "}",
	} {
		if h, err := DecodeHold([]byte(text)); !errors.Is(err, ErrCustom) {
			t.Errorf("%s: got %v, %v, want ErrCustom", text, h, err)
		}
	}
}

// TestHoldOnlyNarrows lets any hold act on any file: nobody gets it who would not have got it without.
func TestHoldOnlyNarrows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := good()
		f.Counter = rapid.Uint64Range(1, 3).Draw(t, "counter")
		f.Stage = Stage(rapid.IntRange(0, int(All)).Draw(t, "stage"))
		f.Halt = rapid.Bool().Draw(t, "halt")
		h := Hold{}
		for range rapid.IntRange(0, 3).Draw(t, "holds") {
			h[rapid.Uint64Range(1, 3).Draw(t, "held")] = Stage(rapid.IntRange(0, int(All)).Draw(t, "to"))
		}
		m := here()
		m.Gateway = rapid.String().Draw(t, "gateway")
		n := h.Narrow(f)
		if n.Stage > f.Stage || f.Halt && !n.Halt || f.Fits(m) != nil && n.Fits(m) == nil {
			t.Fatalf("%v hands out %+v", h, f)
		}
		if s, held := h[f.Counter]; held && Bucket(m.Gateway, f.Counter) >= s && n.Fits(m) == nil {
			t.Fatalf("%v does not hold back %+v", h, f)
		}
	})
}
