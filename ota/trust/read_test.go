package trust

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// odd signs a role's next version as edit writes it, and what it is said to mean: who holds the keys may write what he likes.
func (r *repo) odd(role string, meaning, shown func(s string) string) {
	r.t.Helper()
	version, signed := r.state(role)
	*version++
	body := string(mustJSON(r.t, signed))
	raw := r.signRaw([]byte(meaning(body)), []byte(shown(body)), r.signers[role]...)
	r.put(role, *version, raw)
}

func same(s string) string { return s }

// TestMalformed has metadata of all roles, rightly signed, that are not to be taken.
func TestMalformed(t *testing.T) {
	type edit struct{ from, to string }
	all := func(from, to string) map[string]edit {
		out := map[string]edit{}
		for _, role := range []string{root, timestamp, snapshot, targets} {
			out[role] = edit{from, to}
		}
		return out
	}
	one := func(role, from, to string) map[string]edit { return map[string]edit{role: {from, to}} }
	const version, expires, spec = `"version":2}`, `"expires":"2028-03-01T12:00:00Z"`, `"spec_version":"1.0.31"`
	tests := map[string]struct {
		edits map[string]edit
		want  error
		text  string
		means bool // what is signed is what was there before the edit: go-tuf takes the one for the other
	}{
		"version 0":                     {all(version, `"version":0}`), ErrMalformed, "got version 0, want 1 to", false},
		"version negative":              {all(version, `"version":-1}`), ErrMalformed, "got number -1", true},
		"version too high":              {all(version, `"version":9223372036854775808}`), ErrMalformed, "got number 9223372036854775808", true},
		"version 2^53":                  {all(version, `"version":9007199254740992}`), ErrMalformed, "got number 9007199254740992", true},
		"version as text":               {all(version, `"version":"2"}`), ErrMalformed, "version", true},
		"version with a fraction":       {all(version, `"version":2.0}`), ErrMalformed, "got number 2.0", true},
		"version with an exponent":      {all(version, `"version":2e0}`), ErrMalformed, "got number 2e0", true},
		"version null":                  {all(version, `"version":null}`), ErrMalformed, "got null", true},
		"version list":                  {all(version, `"version":[2]}`), ErrMalformed, "version", true},
		"version missing":               {all(`,`+version, `}`), ErrMalformed, "not read as they are written", true},
		"version twice":                 {all(version, `"version":7,"version":2}`), ErrMalformed, "duplicate", true},
		"version in other letters":      {all(version, `"Version":2}`), ErrMalformed, "not read as they are written", true},
		"version in both letters":       {all(version, `"version":1,"Version":2}`), ErrMalformed, "not read as they are written", true},
		"expires no date":               {all(expires, `"expires":"not-a-date"`), ErrMalformed, "not-a-date", true},
		"expires without Z":             {all(expires, `"expires":"2028-03-01T12:00:00"`), ErrMalformed, "2028-03-01T12:00:00", true},
		"expires in another zone":       {all(expires, `"expires":"2028-03-01T12:00:00+02:00"`), ErrMalformed, "got expires", false},
		"expires in a zone that is Z":   {all(expires, `"expires":"2028-03-01T12:00:00+00:00"`), ErrMalformed, "not read as they are written", true},
		"expires with a fraction":       {all(expires, `"expires":"2028-03-01T12:00:00.5Z"`), ErrMalformed, "got expires", false},
		"expires with no fraction":      {all(expires, `"expires":"2028-03-01T12:00:00.0Z"`), ErrMalformed, "not read as they are written", true},
		"expires far away":              {all(expires, `"expires":"9999-12-31T23:59:59Z"`), ErrMalformed, "got expires 9999-12-31T23:59:59Z", false},
		"expires missing":               {all(expires+`,`, ``), ErrMalformed, "not read as they are written", true},
		"expires as a number":           {all(expires, `"expires":1835524800`), ErrMalformed, "Time", true},
		"specification 2":               {all(spec, `"spec_version":"2.0.0"`), ErrMalformed, `got spec_version "2.0.0", want 1.x`, false},
		"specification without a dot":   {all(spec, `"spec_version":"1"`), ErrMalformed, `got spec_version "1"`, false},
		"specification missing":         {all(spec+`,`, ``), ErrMalformed, "not read as they are written", true},
		"type unknown":                  {all(`"_type":"`, `"_type":"x`), ErrMalformed, "expected metadata type", true},
		"type missing":                  {all(`"_type":"`, `"-type":"`), ErrMalformed, "no _type", true},
		"type twice":                    {all(`"_type":"`, `"_type":"x","_type":"`), ErrMalformed, "duplicate", true},
		"no UTF-8":                      {all(version, "\"x\":\"\xff\",\"version\":2}"), ErrMalformed, "invalid UTF-8", true},
		"too deep":                      {all(version, `"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,`+version), ErrMalformed, "got depth 33", true},
		"unknown field null":            {all(version, `"x":null,`+version), ErrMalformed, "got null", true},
		"unknown field with a fraction": {all(version, `"x":0.5,`+version), ErrMalformed, "got number 0.5", true},

		"root: key null":                  {one(root, `"keys":{`, `"keys":{"k":null,`), ErrMalformed, "got null", true},
		"root: role null":                 {one(root, `"roles":{`, `"roles":{"x":null,`), ErrMalformed, "got null", true},
		"root: no role for targets":       {one(root, `"targets":{"keyids"`, `"mirrors":{"keyids"`), ErrMalformed, "got no role targets", false},
		"root: threshold 0":               {one(root, `"threshold":1}},"s`, `"threshold":0}},"s`), ErrMalformed, "got no role timestamp with a threshold", false},
		"root: consistent_snapshot twice": {one(root, `"consistent_snapshot":true`, `"consistent_snapshot":false,"consistent_snapshot":true`), ErrMalformed, "duplicate", true},
		"root: consistent_snapshot gone":  {one(root, `"consistent_snapshot":true,`, ``), ErrMalformed, "not read as they are written", true},
		"root: key twice":                 {one(root, `"keys":{`, `"keys":{"726f6f7430":{"keytype":"ed25519","keyval":{"public":"00"},"scheme":"ed25519"},`), ErrMalformed, "duplicate", true},

		"timestamp: no snapshot":          {one(timestamp, `"snapshot.json":`, `"snapshot":`), ErrDelegation, `got "snapshot", want snapshot.json only`, false},
		"timestamp: more than a snapshot": {one(timestamp, `"meta":{`, `"meta":{"other.json":{"version":1},`), ErrDelegation, `got "other.json"`, false},
		"timestamp: nothing":              {one(timestamp, `"meta":{"snapshot.json":{`, `"meta":{},"x":{"snapshot.json":{`), ErrMalformed, "got no snapshot.json", false},
		"timestamp: snapshot null":        {one(timestamp, `"meta":{`, `"meta":{"x":null,`), ErrMalformed, "got null", true},
		"timestamp: snapshot version 0":   {one(timestamp, `"version":2}}`, `"version":0}}`), ErrMalformed, "got version 0 of snapshot.json", false},
		"timestamp: length 0":             {one(timestamp, `"length":`, `"length":0,"x":`), ErrMalformed, "not read as they are written", true},
		"timestamp: length missing":       {one(timestamp, `"length":`, `"x":`), ErrLength, "got 0 for snapshot.json, want 1 to 65536", false},
		"timestamp: length twice":         {one(timestamp, `"length":`, `"length":1,"length":`), ErrMalformed, "duplicate", true},
		"timestamp: hashes missing":       {one(timestamp, `"hashes":`, `"x":`), ErrHash, "got a sha256 of 0 bytes", false},
		"timestamp: hashes empty":         {one(timestamp, `"hashes":{`, `"hashes":{},"x":{`), ErrMalformed, "not read as they are written", true},
		"timestamp: sha512 only":          {one(timestamp, `"sha256":`, `"sha-256":`), ErrHash, "got a sha256 of 0 bytes", false},
		"timestamp: sha256 short":         {one(timestamp, `"sha256":"`, `"sha256":"00","x":"`), ErrHash, "got a sha256 of 1 bytes", false},
		"snapshot: no targets":            {one(snapshot, `"targets.json":`, `"targets":`), ErrDelegation, `got "targets", want targets.json only`, false},
		"snapshot: role beside targets":   {one(snapshot, `"meta":{`, `"meta":{"role.json":{"version":1},`), ErrDelegation, `got "role.json"`, false},
		"snapshot: length too high":       {one(snapshot, `"length":`, `"length":262145,"x":`), ErrLength, "got 262145 for targets.json, want 1 to 262144", false},

		"targets: delegations":            {one(targets, expires, `"delegations":{"keys":{},"roles":[]},`+expires), ErrDelegation, "got 0 roles", false},
		"targets: succinct delegations":   {one(targets, expires, `"delegations":{"keys":{},"succinct_roles":{"bit_length":1,"keyids":[],"name_prefix":"a","threshold":1}},`+expires), ErrDelegation, "", false},
		"targets: delegations null":       {one(targets, expires, `"delegations":null,`+expires), ErrMalformed, "got null", true},
		"targets: Delegations":            {one(targets, expires, `"Delegations":{"keys":{},"roles":[]},`+expires), ErrMalformed, "not read as they are written", true},
		"targets: target null":            {one(targets, `"targets":{`, `"targets":{"x":null,`), ErrMalformed, "got null", true},
		"targets: target twice":           {one(targets, `"targets":{`, `"targets":{"linux-arm64":{},`), ErrMalformed, "duplicate", true},
		"targets: length 0":               {one(targets, `"length":11`, `"length":0`), ErrLength, "got 0, want 1 to 268435456", false},
		"targets: length missing":         {one(targets, `"length":11`, `"x":11`), ErrMalformed, "not read as they are written", true},
		"targets: length too high":        {one(targets, `"length":11`, `"length":268435457`), ErrLength, "got 268435457, want 1 to 268435456", false},
		"targets: hashes empty":           {one(targets, `"hashes":{`, `"hashes":{},"x":{`), ErrMalformed, "hashes must not be empty", true},
		"targets: sha256 too long":        {one(targets, `"sha256":"`, `"sha256":"00`), ErrHash, "got a sha256 of 33 bytes", false},
		"targets: sha512 empty":           {one(targets, `"sha512":"`, `"sha512":"","x":"`), ErrHash, "a sha512 of 0", false},
		"targets: sha512 no hex":          {one(targets, `"sha512":"`, `"sha512":"xx`), ErrMalformed, "invalid byte", true},
		"targets: custom missing":         {one(targets, `"custom":{"counter":1},`, ``), ErrMalformed, "got no custom object", false},
		"targets: custom text":            {one(targets, `"custom":{"counter":1}`, `"custom":"{"`), ErrMalformed, "got no custom object", false},
		"targets: custom twice":           {one(targets, `"custom":`, `"custom":{"counter":2},"custom":`), ErrMalformed, "duplicate", true},
		"targets: field of custom twice":  {one(targets, `"counter":1`, `"counter":2,"counter":1`), ErrMalformed, "duplicate", true},
		"targets: custom with a fraction": {one(targets, `"counter":1`, `"counter":1.5`), ErrMalformed, "got number 1.5", true},
	}
	for name, tt := range tests {
		for role, e := range tt.edits {
			t.Run(role+" "+name, func(t *testing.T) {
				r := newRepo(t)
				g := newGateway(t, r)
				shown := func(s string) string {
					i := strings.LastIndex(s, e.from)
					if i < 0 {
						t.Fatalf("%s is not in %s", e.from, s)
					}
					return s[:i] + e.to + s[i+len(e.from):]
				}
				meaning := shown
				if tt.means {
					meaning = same
				}
				for _, role2 := range []string{targets, snapshot, timestamp} {
					if role2 == role {
						r.odd(role, meaning, shown)
					} else {
						r.publish(role2)
					}
				}
				if role == root {
					r.odd(root, meaning, shown)
				}
				err := g.refresh()
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v, want %v: %s", err, tt.want, tt.text)
				}
				if held := g.holds(); reflect.ValueOf(held).FieldByName(strings.ToUpper(role[:1])+role[1:]).Int() > 1 {
					t.Errorf("got versions %+v in the cache, want what is refused not to be there", held)
				}
			})
		}
	}
}

// TestBothHashesCount has one hash of metadata right and the other one wrong.
func TestBothHashesCount(t *testing.T) {
	for _, algorithm := range []string{"sha256", "sha512"} {
		r := newRepo(t)
		g := newGateway(t, r)
		r.timestamp.Meta["snapshot.json"].Hashes[algorithm][7]++
		r.publish(timestamp)
		if err := g.refresh(); !errors.Is(err, ErrHash) || !strings.Contains(err.Error(), "snapshot.json: hash is wrong: got "+algorithm) {
			t.Errorf("got %v, want %v of snapshot.json", err, ErrHash)
		}
		r.serve(snapshot)
		r.snapshot.Meta["targets.json"].Hashes[algorithm][7]++
		r.publish(snapshot, timestamp)
		if err := g.refresh(); !errors.Is(err, ErrHash) || !strings.Contains(err.Error(), "targets.json: hash is wrong: got "+algorithm) {
			t.Errorf("got %v, want %v of targets.json", err, ErrHash)
		}
	}
}

// TestAround has what stands around the signed part: it may be changed by anybody.
func TestAround(t *testing.T) {
	tests := map[string]struct {
		from, to string
		want     error
	}{
		"value behind":               {`"version":2}}`, `"version":2}}{}`, ErrMalformed},
		"zero byte behind":           {`"version":2}}`, "\"version\":2}}\x00", ErrMalformed},
		"signed twice":               {`"signed":`, `"signed":{},"signed":`, ErrMalformed},
		"signed in other letters":    {`"signed":`, `"SIGNED":`, ErrMalformed},
		"signed in both letters":     {`"version":2}}`, `"version":2},"Signed":{"_type":"timestamp"}}`, ErrMalformed},
		"Signed before signed":       {`{"signatures"`, `{"Signed":{"_type":"timestamp"},"signatures"`, nil},
		"signatures twice":           {`{"signatures"`, `{"signatures":[],"signatures"`, ErrMalformed},
		"signatures missing":         {`{"signatures"`, `{"x"`, ErrMalformed},
		"signatures empty":           {`{"signatures":[`, `{"signatures":[],"x":[`, ErrSignature},
		"signatures no list":         {`{"signatures":[`, `{"signatures":{"a":1},"x":[`, ErrMalformed},
		"signature null":             {`{"signatures":[`, `{"signatures":[null,`, ErrMalformed},
		"signature of another shape": {`{"signatures":[`, `{"signatures":[1,`, ErrMalformed},
		"signature by nobody":        {`{"signatures":[`, `{"signatures":[{"keyid":"","sig":"00"},`, nil},
		"signature no hex":           {`{"signatures":[`, `{"signatures":[{"keyid":"a","sig":"xy"},`, ErrMalformed},
		"field beside":               {`{"signatures"`, `{"x":{"y":[1]},"signatures"`, nil},
		"nothing":                    {``, ``, ErrMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			g := newGateway(t, r)
			r.publish(timestamp)
			if tt.from == "" {
				r.served["timestamp.json"] = nil
			} else {
				r.edit("timestamp.json", tt.from, tt.to)
			}
			if tt.want == nil {
				g.wantGood(Versions{1, 2, 1, 1})
				return
			}
			g.wantRefused(tt.want, Versions{Root: 1})
		})
	}
}

// TestNamesOfTargets has names that must never become a path or an address.
func TestNamesOfTargets(t *testing.T) {
	for _, name := range []string{
		"a", "A-1_2.3+4", "path/to/file", "_x", "1.2.3/linux.zst", strings.Repeat("a", MaxName),
	} {
		r := newRepo(t)
		r.add(name, []byte("x"))
		r.publish(targets, snapshot, timestamp)
		newGateway(t, r).wantGood(Versions{1, 2, 2, 2})
	}
	for _, name := range []string{
		"", ".", "..", "../a", "a/..", "a/../b", "../../bin/sh", "/a", "/etc/passwd", "a/", "a//b", "./a", "a/./b", ".hidden", "a/.hidden", "-rf", "a/-rf", "a b",
		"a\x00", "a\n", "a\\b", "C:a", "a?b", "a#b", "a%2e%2e", "a*b", "~a", "$a", "a:b", "ä", "a\u202eb", "a'", "a\"", "<a>", "a|b", "a;b", "a&b", "@a", "a=b", "a,b",
		strings.Repeat("a", MaxName+1), strings.Repeat("a", 4<<10),
	} {
		r := newRepo(t)
		f := r.add("x", []byte("x"))
		delete(r.targets.Targets, "x")
		r.targets.Targets[name] = f
		raw := mustJSON(t, r.targets)
		if _, err := readTargets(r.sign(&r.targets, r.signers[targets]...)); !errors.Is(err, ErrName) {
			t.Errorf("%q: got %v, want %v (%s)", name, err, ErrName, raw)
		}
	}
}

// TestNoBitMayBeFlipped flips bits of each byte, all of them at full length, of a timestamp and of targets on their way: either they are refused, or they mean what they meant (white
// space, a signature more than enough).
func TestNoBitMayBeFlipped(t *testing.T) {
	r := newRepo(t)
	r.timestamp.UnrecognizedFields = map[string]any{"x-tidegate-hold": map[string]int{"12": 0}, "x-tidegate-time": "2027-02-01T00:00:00Z"}
	r.signers[targets] = newKeys("targets", 3)
	r.publish(targets, snapshot, timestamp)
	first, err := readRoot(r.served["1.root.json"])
	if err != nil {
		t.Fatal(err)
	}
	c := &cycle{root: first}
	for name, read := range map[string]func(raw []byte) (any, error){
		"timestamp.json": func(raw []byte) (any, error) { return c.checkTimestamp(raw) },
		"2.targets.json": func(raw []byte) (any, error) {
			m, err := c.checkTargets(raw)
			if err != nil {
				return nil, err
			}
			return []any{m.Signed.Version, m.Signed.Expires, files(&m.Signed, true)}, nil
		},
	} {
		good := r.served[name]
		want, err := read(good)
		if err != nil {
			t.Fatal(err)
		}
		accepted, refused := 0, map[string]int{}
		for at := range good {
			for bit := range 8 {
				if bit != at%5 && bit != 5 && os.Getenv("TIDEGATE_LONG") == "" { // 5 makes large letters of small ones
					continue
				}
				raw := bytes.Clone(good)
				raw[at] ^= 1 << bit
				got, err := read(raw)
				switch {
				case err == nil && !reflect.DeepEqual(got, want):
					t.Fatalf("%s: bit %d of byte %d: got %v, want %v", name, bit, at, got, want)
				case err == nil:
					accepted++
				case errors.Is(err, ErrSignature):
					refused["signature"]++
				case errors.Is(err, ErrMalformed), errors.Is(err, ErrLength), errors.Is(err, ErrHash), errors.Is(err, ErrDelegation), errors.Is(err, ErrName):
					refused["form"]++
				default:
					t.Fatalf("%s: bit %d of byte %d: got %v, which has no name", name, bit, at, err)
				}
			}
		}
		t.Logf("%s: %d bytes, %d flips accepted with the same meaning, refused: %v", name, len(good), accepted, refused)
		if refused["signature"] == 0 || refused["form"] == 0 {
			t.Errorf("%s: got %v, want both kinds", name, refused)
		}
	}
}

// TestNoByteMayBeChangedOnTheWay does so through whole cycles: what comes out is what was signed, or nothing.
func TestNoByteMayBeChangedOnTheWay(t *testing.T) {
	r := newRepo(t)
	g := newGateway(t, r)
	g.wantGood(Versions{1, 1, 1, 1})
	want := g.last
	r.publish(targets, snapshot, timestamp)
	for _, name := range []string{"timestamp.json", "2.snapshot.json", "2.targets.json"} {
		good := r.served[name]
		fresh := newRepo(t)
		fresh.served = r.frozen().served
		g := newGateway(t, fresh)
		for at := 0; at < len(good); at += 13 {
			fresh.served[name] = flipped(good, at)
			if err := g.refresh(); err == nil && (!reflect.DeepEqual(g.last.Files, want.Files) || g.last.Versions != Versions{1, 2, 2, 2}) {
				t.Fatalf("%s: byte %d: got %+v", name, at, g.last)
			}
		}
	}
}

// FuzzRead reads metadata of all roles, as they are served with a part replaced: no bytes make it panic, and what it takes is within bounds,
// whoever signed it.
func FuzzRead(f *testing.F) {
	r := newRepo(f)
	names := []string{"1.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"}
	for i, name := range names {
		f.Add(uint8(i), uint16(0), uint16(len(r.served[name])), r.served[name])
		for _, part := range []string{`null`, `{}`, `[]`, `"a"`, `0`, `-1`, `1.0`, `"a":1,`, `"version":2,`, `"../a":`} {
			at := bytes.Index(r.served[name], []byte(`"signed":`)) + 10
			f.Add(uint8(i), uint16(at), uint16(0), []byte(part))
			f.Add(uint8(i), uint16(at), uint16(9), []byte(part))
		}
	}
	first, err := readRoot(r.served["1.root.json"])
	if err != nil {
		f.Fatal(err)
	}
	signedBy := r.frozen()
	f.Fuzz(func(t *testing.T, which uint8, at, length uint16, part []byte) {
		good := r.served[names[int(which)%len(names)]]
		from := min(int(at), len(good))
		raw := slices.Concat(good[:from], part, good[min(from+int(length), len(good)):])
		c := &cycle{root: first}
		if m, err := readRoot(raw); err == nil {
			_ = verify(first, metadata.ROOT, m)
			for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
				_ = verify(m, role, m) // its keys are whatever it says
			}
			keySet(&m.Signed, metadata.TOP_LEVEL_ROLE_NAMES[:]...)
		}
		if m, err := readSnapshot(raw); err == nil {
			_ = matches("x", m.Signed.Meta["targets.json"], raw)
		}
		if s, err := c.checkTimestamp(raw); err == nil {
			want, err := c.checkTimestamp(signedBy.served["timestamp.json"])
			if err != nil || s.signed != want.signed {
				t.Fatalf("got %+v, which nobody signed", s)
			}
		}
		m, err := readTargets(raw)
		if err != nil {
			return
		}
		for _, file := range files(&m.Signed, true) {
			if !filepath.IsLocal(file.Name) || !filepath.IsLocal(file.Stored) || filepath.Clean(file.Name) != file.Name || file.Length < 1 || len(file.SHA256) != 64 ||
				len(file.SHA512) != 128 || len(file.Custom) < 2 {
				t.Fatalf("got %+v", file)
			}
		}
		if verify(first, metadata.TARGETS, m) == nil && !slices.EqualFunc(files(&m.Signed, true), files(&signedBy.targets, true), func(a, b File) bool { return a.SHA512 == b.SHA512 }) {
			t.Fatalf("got %+v, which nobody signed", m)
		}
	})
}
