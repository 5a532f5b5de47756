package receive

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// A memory is a Sink in memory. It keeps all there is across Receivers, as a disk does.
type memory struct {
	mu     sync.Mutex
	ledger *Ledger
	batch  []Batch
	fail   func() error // what the next Write returns; nil = it works
	kept   bool         // a Write that fails has stored all the same
	slow   time.Duration
}

func newMemory() *memory { return &memory{ledger: NewLedger()} }

func (m *memory) Load(context.Context) (*Ledger, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copyLedger(m.ledger)
}

// copyLedger returns what l becomes by way of JSON.
func copyLedger(l *Ledger) (*Ledger, error) {
	c := NewLedger()
	c.Refused = l.Refused
	for _, g := range l.Gateways() {
		for _, k := range l.Keys(g) {
			text, err := json.Marshal(l.Row(k))
			if err != nil {
				return nil, err
			}
			var row Row
			if err := json.Unmarshal(text, &row); err != nil {
				return nil, err
			}
			c.Put(k, &row)
		}
	}
	return c, nil
}

func (m *memory) Write(ctx context.Context, b Batch) error {
	if m.slow > 0 {
		time.Sleep(m.slow)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	if m.fail != nil {
		err = m.fail()
	}
	if err == nil || m.kept {
		m.batch = append(m.batch, b)
		text, err := json.Marshal(b.Changes)
		if err != nil {
			return err
		}
		var changes []Change
		if err := json.Unmarshal(text, &changes); err != nil {
			return err
		}
		m.ledger.Apply(changes, len(b.Refused))
	}
	return err
}

func (m *memory) Close() error { return nil }

// stored returns the readings stored under each identity, in order; a record stored twice has them twice.
func (m *memory) stored() map[string][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string][]string{}
	for _, b := range m.batch {
		for _, s := range b.Records {
			id := fmt.Sprintf("%s/%s/%d", s.Gateway, s.Epoch, s.Record.Number)
			for _, rd := range s.Record.Readings {
				out[id] = append(out[id], rd.Channel+"="+rd.Value.String()+rd.Fault)
			}
		}
	}
	return out
}

// writes returns how many batches there are, and records in them.
func (m *memory) writes() (batches, records int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.batch {
		records += len(b.Records)
	}
	return len(m.batch), records
}

// rec returns the record n, of one reading for each channel.
func rec(n uint64, channels ...string) tidegate.Record {
	r := tidegate.Record{Number: n, Time: time.UnixMicro(1792000000006000).UTC()}
	if len(channels) == 0 {
		channels = []string{"c"}
	}
	for _, c := range channels {
		r.Readings = append(r.Readings, tidegate.Reading{Device: "d", Channel: c, Value: tidegate.Uint(n)})
	}
	return r
}

// recs returns the records of all numbers.
func recs(first, last uint64) (out []tidegate.Record) {
	for n := first; n <= last; n++ {
		out = append(out, rec(n))
	}
	return out
}

// payload returns p as a payload by lane.
func payload(t testing.TB, lane string, p wire.Pack) Payload {
	t.Helper()
	body, err := wire.AppendSenML(nil, &p)
	if err != nil {
		t.Fatal(err)
	}
	return Payload{Topic: "tg/v1/" + p.Gateway + "/up/" + lane, Body: body}
}

// gapRecord returns the record n that declares g.
func gapRecord(n uint64, g tidegate.Gap) tidegate.Record {
	r := rec(n)
	r.Readings = []tidegate.Reading{wire.GapReading(g)}
	return r
}

// part returns one part of the record n.
func part(t testing.TB, n uint64, index, total int, channels ...string) Payload {
	return payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: []tidegate.Record{rec(n, channels...)}, Part: wire.Part{Index: index, Total: total}})
}

// receiver returns a Receiver over m, whose write is called by hand.
func receiver(t testing.TB, m Sink) *Receiver {
	t.Helper()
	r, err := New(context.Background(), Options{Sink: m})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// take takes payloads into one group.
func take(t testing.TB, r *Receiver, ps ...Payload) {
	t.Helper()
	for _, p := range ps {
		if err := r.Take(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.write(context.Background(), r.inbox.take()); err != nil {
		t.Fatal(err)
	}
}

// TestAccountOf sends payloads, each group separated by an empty Payload and a new Receiver, and compares the account.
func TestAccountOf(t *testing.T) {
	pack := func(lane string, rs []tidegate.Record, more ...func(*wire.Pack)) Payload {
		p := wire.Pack{Gateway: "g", Epoch: "e", Records: rs}
		for _, f := range more {
			f(&p)
		}
		return payload(t, lane, p)
	}
	skip := func(first, last uint64) func(*wire.Pack) {
		return func(p *wire.Pack) { p.Skip.Add(tidegate.Range{First: first, Last: last}) }
	}
	epoch := func(e string) func(*wire.Pack) { return func(p *wire.Pack) { p.Epoch = e } }
	corrected := rec(1, "a")
	corrected.Time, corrected.Quality = corrected.Time.Add(time.Hour), tidegate.TimeCorrected
	restart := Payload{}
	tests := map[string]struct {
		send []Payload
		want string // epoch:records/readings duplicates upto holes gaps ..., see summary
	}{
		"one pack":                           {[]Payload{pack("data", recs(1, 5))}, "e: 5/5 dup 0 upto 5"},
		"the same pack again":                {[]Payload{pack("data", recs(1, 5)), pack("data", recs(1, 5))}, "e: 5/5 dup 5 upto 5"},
		"the same pack after a restart":      {[]Payload{pack("data", recs(1, 5)), restart, pack("data", recs(1, 5))}, "e: 5/5 dup 5 upto 5"},
		"the same records cut another way":   {[]Payload{pack("data", recs(1, 5)), pack("data", recs(6, 9)), restart, pack("data", recs(4, 7)), pack("data", recs(8, 11))}, "e: 11/11 dup 6 upto 11"},
		"corrected time is a duplicate":      {[]Payload{pack("data", []tidegate.Record{rec(1, "a")}), pack("backfill", []tidegate.Record{corrected})}, "e: 1/1 dup 1 upto 1"},
		"later records first":                {[]Payload{pack("alarm", recs(7, 7)), pack("data", recs(1, 3))}, "e: 4/4 dup 0 upto 7 holes [{4 6}]"},
		"epochs side by side":                {[]Payload{pack("data", recs(1, 3)), pack("data", recs(1, 2), epoch("f")), pack("backfill", recs(3, 5))}, "e: 5/5 dup 1 upto 5; f: 2/2 dup 0 upto 2"},
		"skipped numbers are no hole":        {[]Payload{pack("data", recs(1, 1), skip(2, 6)), pack("data", recs(7, 7))}, "e: 2/2 dup 0 upto 7 skipped 5"},
		"a skipped record comes after all":   {[]Payload{pack("data", recs(1, 1), skip(2, 4)), pack("data", recs(3, 3))}, "e: 2/2 dup 0 upto 4 skipped 2"},
		"only skipped numbers":               {[]Payload{pack("data", nil, skip(1, 4))}, "e: 0/0 dup 0 upto 4 skipped 4"},
		"a gap is no hole":                   {[]Payload{pack("data", recs(1, 2)), pack("audit", []tidegate.Record{gapRecord(9, tidegate.Gap{From: 3, To: 8, Count: 40, Cause: "overflow"})})}, "e: 3/3 dup 0 upto 9 gap 3-8 open [{3 8}] lost 40+0"},
		"late records shrink the gap":        {[]Payload{pack("audit", []tidegate.Record{gapRecord(9, tidegate.Gap{From: 1, To: 8, AtMost: 40, Cause: "power_cut"})}), restart, pack("backfill", recs(1, 3)), pack("backfill", recs(1, 4))}, "e: 5/5 dup 3 upto 9 gap 1-8 open [{5 8}] lost 0+36"},
		"gap and late record in one pack":    {[]Payload{pack("backfill", []tidegate.Record{gapRecord(1, tidegate.Gap{From: 2, To: 3, Count: 2, Cause: "rejected"}), rec(3)})}, "e: 2/2 dup 0 upto 3 gap 2-3 open [{2 2}] lost 1+0"},
		"a gap of another epoch":             {[]Payload{pack("data", recs(1, 2)), pack("audit", []tidegate.Record{gapRecord(1, tidegate.Gap{From: 3, To: 8, Count: 4, Cause: "restored", Epoch: "e"})}, epoch("f"))}, "e: 2/2 dup 0 upto 8 gap 3-8 open [{3 8}] lost 4+0; f: 1/1 dup 0 upto 1"},
		"a gap of an unknown epoch":          {[]Payload{pack("audit", []tidegate.Record{gapRecord(1, tidegate.Gap{From: 1, To: 8, Count: 4, Cause: "restored", Epoch: "a"})})}, "a: 0/0 dup 0 upto 8 gap 1-8 open [{1 8}] lost 4+0; e: 1/1 dup 0 upto 1"},
		"parts in order":                     {[]Payload{part(t, 4, 1, 2, "a", "b"), part(t, 4, 2, 2, "c")}, "e: 1/3 dup 0 upto 4 holes [{1 3}]"},
		"parts out of order, with restarts":  {[]Payload{part(t, 1, 3, 3, "c"), restart, part(t, 1, 1, 3, "a"), restart, part(t, 1, 2, 3, "b")}, "e: 1/3 dup 0 upto 1"},
		"parts twice":                        {[]Payload{part(t, 1, 1, 2, "a"), part(t, 1, 1, 2, "a"), part(t, 1, 2, 2, "b"), part(t, 1, 2, 2, "b")}, "e: 1/2 dup 1 upto 1"},
		"parts, then the whole":              {[]Payload{part(t, 1, 1, 2, "a"), restart, pack("data", []tidegate.Record{rec(1, "a", "b")})}, "e: 1/2 dup 0 upto 1"},
		"parts that are missing are held":    {[]Payload{part(t, 2, 1, 3, "a"), part(t, 2, 2, 3, "b"), pack("data", recs(1, 1))}, "e: 1/1 dup 0 upto 1 held 1/2"},
		"another total discards":             {[]Payload{part(t, 1, 1, 3, "a"), part(t, 1, 2, 3, "b"), restart, part(t, 1, 1, 2, "a"), part(t, 1, 2, 2, "b")}, "e: 1/2 dup 0 upto 1 discarded 1"},
		"another total discards, held still": {[]Payload{part(t, 1, 1, 3, "a"), part(t, 1, 2, 3, "b"), restart, part(t, 1, 3, 4, "a")}, "e: 0/0 dup 0 upto 0 held 1/1 discarded 1"},
		"another cut of the same total":      {[]Payload{part(t, 1, 1, 2, "a"), restart, part(t, 1, 1, 2, "a", "b"), part(t, 1, 2, 2, "c")}, "e: 1/3 dup 0 upto 1 discarded 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, grouped := range []bool{true, false} {
				m := newMemory()
				r := receiver(t, m)
				for _, p := range tt.send {
					if p.Topic == "" {
						take(t, r)
						r = receiver(t, m)
					} else if grouped {
						if err := r.Take(context.Background(), p); err != nil {
							t.Fatal(err)
						}
					} else {
						take(t, r, p)
					}
				}
				take(t, r)
				if got := summary(r.Account()); got != tt.want {
					t.Errorf("grouped %v\ngot  %s\nwant %s", grouped, got, tt.want)
				}
				if got := summary(receiver(t, m).Account()); got != tt.want {
					t.Errorf("grouped %v, loaded again\ngot  %s\nwant %s", grouped, got, tt.want)
				}
			}
		})
	}
}

// summary returns the account of the gateway g in one line.
func summary(a Account) string {
	var out []string
	for _, e := range a.Gateways[0].Epochs {
		s := fmt.Sprintf("%s: %d/%d dup %d upto %d", e.Epoch, e.StoredRecords, e.StoredReadings, e.Duplicates, e.Upto)
		if len(e.Holes.Ranges) > 0 {
			s += fmt.Sprintf(" holes %v", e.Holes.Ranges)
		}
		if e.Skipped > 0 {
			s += fmt.Sprintf(" skipped %d", e.Skipped)
		}
		for _, g := range e.Gaps {
			s += fmt.Sprintf(" gap %d-%d open %v", g.From, g.To, g.Open.Ranges)
		}
		if len(e.Gaps) > 0 {
			s += fmt.Sprintf(" lost %d+%d", e.GapCount, e.GapAtMost)
		}
		if e.HeldRecords > 0 {
			s += fmt.Sprintf(" held %d/%d", e.HeldRecords, e.HeldParts)
		}
		if e.Discarded > 0 {
			s += fmt.Sprintf(" discarded %d", e.Discarded)
		}
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// TestPartsBecomeTheRecord compares the record put together with the parts, times included.
func TestPartsBecomeTheRecord(t *testing.T) {
	m := newMemory()
	r := receiver(t, m)
	late := rec(1, "b")
	late.Time = late.Time.Add(time.Second)
	take(t, r, part(t, 1, 1, 2, "a"), payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: []tidegate.Record{late}, Part: wire.Part{Index: 2, Total: 2}}))
	got := m.batch[0].Records[0].Record
	want := rec(1, "a", "b")
	want.Readings[0].Value, want.Readings[1].Value, want.Readings[1].Time = tidegate.Float(1), tidegate.Float(1), late.Time
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestRefused sends what cannot be understood beside what can, and wants only the former set aside.
func TestRefused(t *testing.T) {
	squeeze := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		if _, err := z.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	good := payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(1, 1)})
	zipped := squeeze(good.Body)
	damaged := slices.Clone(zipped)
	damaged[len(damaged)-6] ^= 1
	bomb := squeeze(make([]byte, maxBody+1))
	tests := map[string]struct {
		topic string
		body  []byte
		want  string
	}{
		"another gateway's pack":   {"tg/v1/h/up/data", good.Body, `base name: got gateway "g", want "h" as in the topic`},
		"an unknown lane":          {"tg/v1/g/up/dada", good.Body, `topic: got "dada" behind up/, want data, backfill, alarm, audit, status or reply`},
		"no topic of ours":         {"tg/v1/g", good.Body, `topic: got "tg/v1/g", want tg/v1/{gateway}/up/{lane}`},
		"a gateway without a name": {"tg/v1//up/data", good.Body, `topic "tg/v1//up/data": gateway: name is empty`},
		"not JSON":                 {"tg/v1/g/up/data", []byte("\x00\xff"), `decode SenML: pack is not UTF-8`},
		"empty":                    {"tg/v1/g/up/data", nil, `decode SenML: byte 0: got the end, want "["`},
		"gzip's mark only":         {"tg/v1/g/up/data", []byte("\x1f\x8b"), `decompress payload: unexpected EOF`},
		"gzip cut off":             {"tg/v1/g/up/data", zipped[:len(zipped)-3], `decompress payload: unexpected EOF`},
		"gzip damaged":             {"tg/v1/g/up/data", damaged, `decompress payload: gzip: invalid checksum`},
		"a bomb":                   {"tg/v1/g/up/data", bomb, fmt.Sprintf("payload of %d bytes decompresses to more than 16777216", len(bomb))},
		"too long":                 {"tg/v1/g/up/data", make([]byte, maxBody+1), `payload is 16777217 bytes long, at most 16777216 are taken`},
		"too many elements":        {"tg/v1/g/up/data", squeeze(many(wire.MaxElements + 1)), `decode SenML: byte 3601932: pack has more than 200000 elements`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			r := receiver(t, m)
			done := 0
			bad := Payload{Topic: tt.topic, Body: tt.body, Done: func() { done++ }}
			take(t, r, bad, Payload{Topic: good.Topic, Body: zipped, Done: func() { done++ }})
			if len(m.batch) != 1 || len(m.batch[0].Refused) != 1 || len(m.batch[0].Records) != 1 || done != 2 {
				t.Fatalf("done %d, batches %+v", done, m.batch)
			}
			x := m.batch[0].Refused[0]
			if x.Why != tt.want || x.Topic != tt.topic || x.Size != len(tt.body) || !bytes.Equal(x.Body, tt.body[:min(len(tt.body), keptBody)]) {
				t.Errorf("got  %s (%s, %d bytes of %d)\nwant %s", x.Why, x.Topic, len(x.Body), x.Size, tt.want)
			}
			if a := r.Account(); a.Refused != 1 || a.Received != 2 {
				t.Errorf("account: %+v", a)
			}
			if keys, _ := r.receipts.due(time.Now(), true); fmt.Sprint(keys) != "[{g e}]" {
				t.Errorf("receipts are owed to %v", keys)
			}
		})
	}
}

// TestGapNotUnderstood wants the record stored, the payload set aside, and the numbers to stay holes.
func TestGapNotUnderstood(t *testing.T) {
	m := newMemory()
	r := receiver(t, m)
	odd := rec(5)
	odd.Readings = []tidegate.Reading{{Device: "_gateway", Channel: "gap", Value: tidegate.Text(`{"from":1}`)}}
	take(t, r, payload(t, "audit", wire.Pack{Gateway: "g", Epoch: "e", Records: []tidegate.Record{odd}}))
	if got, want := summary(r.Account()), "e: 1/1 dup 0 upto 5 holes [{1 4}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := "read gap: byte 10: got not all of from, to, count, at_most, cause, t0 and t1"
	if len(m.batch[0].Refused) != 1 || m.batch[0].Refused[0].Why != want {
		t.Errorf("got %+v, want %s", m.batch[0].Refused, want)
	}
}

// many returns a payload of so many readings.
func many(n int) []byte {
	b := []byte(`[{"bn":"urn:tidegate:g:","ep":"e","bt":1,"seq":1,"n":"d/c","v":1}`)
	for i := 1; i < n; i++ {
		b = append(b, `,{"n":"d/c","v":1`...)
		if i%1000 == 0 {
			b = fmt.Appendf(b, `,"seq":%d`, i/1000+1)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// TestElementsAreCountedNotBraces: a text may be full of braces.
func TestElementsAreCountedNotBraces(t *testing.T) {
	r := &Receiver{}
	for name, body := range map[string][]byte{
		"as many as are taken": many(wire.MaxElements),
		"braces in a text":     []byte(`[{"bn":"urn:tidegate:g:","ep":"e","bt":1,"seq":1,"n":"d/c","vs":"` + strings.Repeat("{", wire.MaxElements+1) + `"}]`),
	} {
		if err := r.understand(&arrival{Payload: Payload{Topic: "tg/v1/g/up/data", Body: body}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// partOf returns the first of two parts of a record of a gateway's epoch, with so many spaces in it, compressed.
func partOf(t *testing.T, gateway, epoch string, n uint64, spaces int) Payload {
	t.Helper()
	body, err := wire.AppendSenML(nil, &wire.Pack{Gateway: gateway, Epoch: epoch, Records: []tidegate.Record{rec(n, "a")}, Part: wire.Part{Index: 1, Total: 2}})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(append(body, bytes.Repeat([]byte(" "), spaces)...)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return Payload{Topic: "tg/v1/" + gateway + "/up/data", Body: b.Bytes()}
}

// TestHeldPartsStayCompressed: a small payload must not cost much memory, however large it is behind its compression.
func TestHeldPartsStayCompressed(t *testing.T) {
	r := receiver(t, newMemory())
	p := partOf(t, "g", "e", 1, 15<<20)
	take(t, r, p)
	if held := r.ledger.Row(Key{"g", "e"}).heldSize(); held != len(p.Body) || held > 32<<10 {
		t.Errorf("%d bytes are held of a payload of %d", held, len(p.Body))
	}
}

// TestJoinedRecordIsBounded: parts that are large behind their compression do not become a record.
func TestJoinedRecordIsBounded(t *testing.T) {
	m := newMemory()
	r := receiver(t, m)
	for i := 1; i <= 3; i++ {
		body := fmt.Appendf(nil, `[{"bn":"urn:tidegate:g:","ep":"e","bt":1,"part":"%d/3","seq":1,"n":"d/c","v":1}]`, i)
		take(t, r, Payload{Topic: "tg/v1/g/up/data", Body: append(body, bytes.Repeat([]byte(" "), 15<<20)...)})
	}
	if got, want := summary(r.Account()), "e: 0/0 dup 0 upto 0 discarded 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	x := m.batch[len(m.batch)-1].Refused
	if want := "record in 3 parts has more than 33554432 bytes, decompressed"; len(x) != 1 || x[0].Why != want {
		t.Errorf("got %+v, want %s", x, want)
	}
}

// TestHeldIsBoundedOverEpochs: a gateway does not get more room by new epochs, and gateways together not more than there is.
func TestHeldIsBoundedOverEpochs(t *testing.T) {
	r := receiver(t, newMemory())
	size := len(partOf(t, "g", "e10", 1, 0).Body)
	r.most = bounds{rows: 100, gateway: 3*size + 20, total: 7*size + 40}
	held := func() map[string]string {
		out := map[string]string{}
		for _, g := range r.Account().Gateways {
			for _, e := range g.Epochs {
				if e.HeldRecords > 0 {
					out[g.Gateway] += " " + e.Epoch
				}
			}
		}
		return out
	}
	for i := range 10 {
		take(t, r, partOf(t, "g", fmt.Sprint("e", 10+i), 1, 0))
	}
	if got := held()["g"]; len(strings.Fields(got)) != 3 || !strings.Contains(got, "e19") {
		t.Errorf("held of epochs%s, want three, the newest among them", got)
	}
	take(t, r, partOf(t, "h", "e10", 1, 0), partOf(t, "h", "e11", 1, 0), partOf(t, "i", "e10", 1, 0), partOf(t, "i", "e11", 1, 0), partOf(t, "i", "e12", 1, 0))
	if got := held(); len(strings.Fields(got["g"]+got["h"]+got["i"])) != 7 || len(strings.Fields(got["g"])) != 2 || len(strings.Fields(got["h"])) != 2 {
		t.Errorf("held %v, want 7, two each of g and h", got)
	}
}

// TestEpochsAreBounded: the oldest is forgotten, which is said, and no receipt is given for it.
func TestEpochsAreBounded(t *testing.T) {
	m := newMemory()
	r := receiver(t, m)
	r.most.rows = 3
	var given []string
	r.options.Publish = func(_ context.Context, _ string, body []byte, _ bool) error {
		given = append(given, string(body))
		return nil
	}
	for i := range 5 {
		epoch := fmt.Sprint("e", i)
		take(t, r, payload(t, "data", wire.Pack{Gateway: "g", Epoch: epoch, Records: []tidegate.Record{rec(1, "a")}}))
		r.receipts.owe(Key{"g", "e0"})
	}
	a := r.Account()
	if got := summary(a); got != "e2: 1/1 dup 0 upto 1; e3: 1/1 dup 0 upto 1; e4: 1/1 dup 0 upto 1" || a.Forgot != 2 {
		t.Errorf("got %s, %d forgotten; want the three newest and 2", got, a.Forgot)
	}
	given = nil
	r.give(t.Context(), []Key{{"g", "e4"}, {"g", "e0"}})
	if len(given) != 1 || !strings.Contains(given[0], `"e4"`) {
		t.Errorf("gave %v", given)
	}
}

// TestHeldIsBounded holds parts of more records than are kept, and more bytes.
func TestHeldIsBounded(t *testing.T) {
	m := newMemory()
	r := receiver(t, m)
	for n := uint64(1); n <= maxHeld+4; n++ {
		take(t, r, part(t, n, 1, 2, "a"))
	}
	if got, want := summary(r.Account()), "e: 0/0 dup 0 upto 0 held 16/16 discarded 4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	take(t, r, part(t, 7, 2, 2, "b"), part(t, 3, 2, 2, "b"))
	if got, want := summary(r.Account()), "e: 1/2 dup 0 upto 7 holes [{1 6}] held 16/16 discarded 4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	row := &Row{}
	for i := 1; i <= 3; i++ {
		row.hold(&Part{Number: 1, Index: i, Total: 3, Body: make([]byte, maxHeldSize/3)})
	}
	row.hold(&Part{Number: 2, Index: 1, Total: 3, Body: make([]byte, 100)})
	if len(row.Held) != 1 || row.Held[0].Number != 2 || row.Discarded != 1 {
		t.Errorf("held %d records, the first %d, discarded %d", len(row.Held), row.Held[0].Number, row.Discarded)
	}
}

// A given is one receipt as it was published.
type given struct {
	at      time.Duration
	topic   string
	body    string
	current bool
}

// running starts r and returns what ends it and the receipts given so far.
func running(t *testing.T, o Options) (r *Receiver, stop func() error, got func() []given) {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var list []given
	o.Publish = func(_ context.Context, topic string, body []byte, retain bool) error {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, given{time.Since(began), topic, string(body), retain})
		return nil
	}
	r, err := New(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return r, func() error { cancel(); return <-ended }, func() []given {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list)
	}
}

// TestReceiptsArePaced sends a record every 10 ms for a second and wants the first receipt at once, then one every 250 ms, each up
// to date, and the last at the end.
func TestReceiptsArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop, got := running(t, Options{Sink: newMemory()})
		for n := uint64(1); n <= 100; n++ {
			if err := r.Take(t.Context(), payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(n, n)})); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		want := []given{
			{2 * time.Millisecond, "tg/v1/g/down/receipt", `{"ep":"e","upto":1,"holes":[]}`, true},
			{252 * time.Millisecond, "tg/v1/g/down/receipt", `{"ep":"e","upto":26,"holes":[]}`, true},
			{502 * time.Millisecond, "tg/v1/g/down/receipt", `{"ep":"e","upto":51,"holes":[]}`, true},
			{752 * time.Millisecond, "tg/v1/g/down/receipt", `{"ep":"e","upto":76,"holes":[]}`, true},
			{1000 * time.Millisecond, "tg/v1/g/down/receipt", `{"ep":"e","upto":100,"holes":[]}`, true},
		}
		for i := range want { // which of a record and a receipt of the same instant is first does not matter
			want[i].body = ""
		}
		list := got()
		last := list[len(list)-1].body
		for i := range list {
			list[i].body = ""
		}
		if !slices.Equal(list, want) || last != `{"ep":"e","upto":100,"holes":[]}` {
			t.Errorf("got %v, the last %s", list, last)
		}
	})
}

// TestReceiptsOfEpochs wants the current epoch's receipt last and only it retained: at a start, when a gateway reports its status,
// when an older epoch drains, and when the current one changes.
func TestReceiptsOfEpochs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		send := func(r *Receiver, ps ...Payload) {
			for _, p := range ps {
				if err := r.Take(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		of := func(epoch, lane string, first, last uint64) Payload {
			return payload(t, lane, wire.Pack{Gateway: "g", Epoch: epoch, Records: recs(first, last)})
		}
		r, stop, got := running(t, Options{Sink: m})
		send(r, of("b", "data", 1, 1))
		send(r, of("a", "data", 1, 2), of("b", "backfill", 2, 2)) // a is the new one
		send(r, of("b", "backfill", 3, 3))                        // b drains
		send(r, of("b", "backfill", 3, 3))                        // duplicates are receipted again
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		want := []string{"b1 retained", "b2", "a2 retained", "b3", "b3"}
		s := short(got())
		if len(s) > 2 && s[1] == "a2 retained" { // a was stored before b came
			s[1], s[2] = s[2], s[1]
		}
		if !slices.Equal(s, want) {
			t.Errorf("got %q, want %q", s, want)
		}
		r, stop, got = running(t, Options{Sink: m})
		r.Announce()
		time.Sleep(time.Second)
		send(r, Payload{Topic: "tg/v1/g/up/status", Body: []byte(`{}`)})
		send(r, Payload{Topic: "tg/v1/other/up/status", Body: []byte(`{}`)}, Payload{Topic: "tg/v1/g/up/reply", Body: []byte(`{}`)})
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		want = []string{"b3", "a2 retained", "b3", "a2 retained"}
		if s := short(got()); !slices.Equal(s, want) {
			t.Errorf("after a start: got %q, want %q", s, want)
		}
	})
}

// short returns epoch, upto and whether it was retained, of each receipt.
func short(list []given) (out []string) {
	for _, g := range list {
		rc, err := wire.ParseReceipt([]byte(g.body))
		s := fmt.Sprintf("%s%d", rc.Epoch, rc.Upto)
		if err != nil {
			s = err.Error()
		}
		if g.current {
			s += " retained"
		}
		out = append(out, s)
	}
	return out
}

// TestReceiptAfterFailedPublish wants a receipt that could not be published to be given later.
func TestReceiptAfterFailedPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		r, err := New(t.Context(), Options{Sink: newMemory(), Publish: func(context.Context, string, []byte, bool) error {
			if tries++; tries < 4 {
				return errors.New("no connection")
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		if err := r.Take(t.Context(), payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(1, 1)})); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		cancel()
		if err := <-ended; err != nil || tries != 4 {
			t.Errorf("%d tries, %v", tries, err)
		}
	})
}

// TestGroupCommit wants what comes within 2 ms of each other to share a write, no payload to wait longer than 20 ms, and what
// comes during a write to share the next.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r, stop, _ := running(t, Options{Sink: m})
		n := uint64(0)
		send := func(count int, every time.Duration) {
			for range count {
				n++
				p := payload(t, "data", wire.Pack{Gateway: fmt.Sprintf("g%d", n%3), Epoch: "e", Records: recs(n, n)})
				if err := r.Take(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				time.Sleep(every)
			}
			time.Sleep(time.Second)
		}
		check := func(what string, batches int) {
			t.Helper()
			got, records := m.writes()
			if got != batches || records != int(n) {
				t.Errorf("%s: %d records in %d writes, want %d in %d", what, records, got, n, batches)
			}
		}
		send(10, time.Millisecond)
		check("together", 1)
		send(3, 10*time.Millisecond)
		check("apart", 4)
		send(40, time.Millisecond)
		check("never quiet", 6)
		m.mu.Lock()
		m.slow = 100 * time.Millisecond
		m.mu.Unlock()
		send(10, 10*time.Millisecond)
		check("during a write", 8)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestDuplicatesAreNotWritten wants groups of nothing but duplicates to be acknowledged without a write, but for their count: once
// a second, and at the end.
func TestDuplicatesAreNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r, stop, _ := running(t, Options{Sink: m})
		done := 0
		send := func(groups int) {
			for range groups {
				p := payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(1, 3)})
				p.Done = func() { done++ }
				if err := r.Take(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				time.Sleep(50 * time.Millisecond)
			}
		}
		check := func(what string, batches, duplicates, all int) {
			t.Helper()
			synctest.Wait()
			got, _ := m.writes()
			if n := m.ledger.Row(Key{"g", "e"}).Duplicates; got != batches || n != uint64(duplicates) || done != all {
				t.Errorf("%s: %d writes, %d duplicates counted, %d done; want %d, %d, %d", what, got, n, done, batches, duplicates, all)
			}
		}
		send(1)
		check("the first", 1, 0, 1)
		send(10)
		check("within a second", 1, 0, 11)
		send(10)
		check("after a second", 2, 60, 21)
		send(5)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		check("at the end", 3, 75, 26)
	})
}

// TestSinkFails wants a batch to be tried again until the sink takes it, nothing to be acknowledged before, and the fault told.
func TestSinkFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		broken := true
		m.fail = func() error {
			if broken {
				return errors.New("disk full")
			}
			return nil
		}
		r, stop, got := running(t, Options{Sink: m, InboxBytes: 1000})
		var done int
		p := payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(1, 3)})
		p.Done = func() { done++ }
		if err := r.Take(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if m.mu.Lock(); done != 0 || len(got()) != 0 || r.Failing() == nil || r.Failing().Error() != "disk full" {
			t.Errorf("done %d, receipts %v, failing %v", done, got(), r.Failing())
		}
		m.mu.Unlock()
		full := 0 // Take waits once the inbox is full
		for ; full < 100; full++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			err := r.Take(ctx, payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(4, 6)}))
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
		}
		if full == 0 || full > 10 {
			t.Errorf("%d payloads fit into an inbox of 1000 bytes", full)
		}
		m.mu.Lock()
		broken = false
		m.mu.Unlock()
		time.Sleep(time.Minute)
		if err := stop(); err != nil || done != 1 || r.Failing() != nil {
			t.Errorf("%v, done %d, failing %v", err, done, r.Failing())
		}
		if got, want := len(m.stored()), 6; got != want {
			t.Errorf("%d records stored, want %d", got, want)
		}
	})
}

// TestStop wants what was taken in to be stored when Run ends, and nothing to be taken afterwards.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.slow = 50 * time.Millisecond
		r, stop, got := running(t, Options{Sink: m})
		done := 0
		for n := uint64(1); n <= 20; n++ {
			p := payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(n, n)})
			p.Done = func() { done++ }
			if err := r.Take(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Millisecond)
		}
		if err := stop(); err != nil || done != 20 || len(m.stored()) != 20 {
			t.Errorf("%v, done %d, stored %d", err, done, len(m.stored()))
		}
		if s := short(got()); s[len(s)-1] != "e20 retained" {
			t.Errorf("last receipt: %v", s)
		}
		if err := r.Take(t.Context(), payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(9, 9)})); !errors.Is(err, ErrStopped) {
			t.Errorf("take after the end: %v", err)
		}
		m.fail = func() error { return errors.New("disk full") }
		r, stop, got = running(t, Options{Sink: m})
		if err := r.Take(t.Context(), payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(21, 22)})); err != nil {
			t.Fatal(err)
		}
		if err, want := stop(), "write 2 records: disk full"; err == nil || err.Error() != want || len(got()) != 0 {
			t.Errorf("got %v and %v, want %s", err, got(), want)
		}
	})
}

// TestWorkerFails wants the first error of what runs beside to end all, after what was taken in is stored.
func TestWorkerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := receiver(t, m)
		outlived := false
		err := r.Run(t.Context(), func(ctx context.Context) error {
			if err := r.Take(ctx, payload(t, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(1, 2)})); err != nil {
				return err
			}
			return errors.New("port in use")
		}, func(ctx context.Context) error {
			<-ctx.Done()
			outlived = len(m.stored()) == 2
			return nil
		})
		if err == nil || err.Error() != "port in use" || !outlived {
			t.Errorf("got %v, outlived %v", err, outlived)
		}
	})
}

// TestTurnSurvives wants the current epoch to be known again after a restart.
func TestTurnSurvives(t *testing.T) {
	m := newMemory()
	r := receiver(t, m)
	for _, e := range []string{"c", "a", "b"} {
		take(t, r, payload(t, "data", wire.Pack{Gateway: "g", Epoch: e, Records: recs(1, 1)}))
		take(t, r, payload(t, "backfill", wire.Pack{Gateway: "g", Epoch: "old" + e, Records: recs(1, 1)}))
	}
	r = receiver(t, m)
	take(t, r, payload(t, "backfill", wire.Pack{Gateway: "g", Epoch: "a", Records: recs(2, 2)}))
	keys := r.ledger.Keys("g")
	if got := keys[len(keys)-1].Epoch; got != "b" {
		t.Errorf("the current epoch is %s, want b", got)
	}
	if got := slices.Sorted(maps.Keys(m.stored())); len(got) != 7 {
		t.Errorf("stored %v", got)
	}
}
