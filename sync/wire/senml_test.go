package wire

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
)

var noon = time.Date(2026, 10, 14, 17, 46, 40, 6000, time.UTC)

// one returns a pack of one record with these readings.
func one(readings ...tidegate.Reading) *Pack {
	return &Pack{Gateway: "gw-1", Epoch: "e7", Records: []tidegate.Record{{Number: 48211, Time: noon, Readings: readings}}}
}

func val(v tidegate.Value) tidegate.Reading {
	return tidegate.Reading{Device: "m", Channel: "c", Value: v}
}

// TestAppendSenML wants the exact bytes of the first element behind its head, for every kind of value and what JSON cannot say.
func TestAppendSenML(t *testing.T) {
	tests := []struct {
		name string
		in   tidegate.Reading
		want string
	}{
		{"whole number", val(tidegate.Int(-12)), `"n":"m/c","v":-12`},
		{"largest exact", val(tidegate.Uint(1 << 53)), `"n":"m/c","v":9007199254740992`},
		{"beyond exact is text", val(tidegate.Uint(1<<53 + 1)), `"n":"m/c","vs":"9007199254740993"`},
		{"largest uint is text", val(tidegate.Uint(math.MaxUint64)), `"n":"m/c","vs":"18446744073709551615"`},
		{"smallest exact", val(tidegate.Int(-1 << 53)), `"n":"m/c","v":-9007199254740992`},
		{"below exact is text", val(tidegate.Int(-1<<53 - 1)), `"n":"m/c","vs":"-9007199254740993"`},
		{"float", val(tidegate.Float(21.02)), `"n":"m/c","v":21.02`},
		{"whole float", val(tidegate.Float(-3)), `"n":"m/c","v":-3`},
		{"large float", val(tidegate.Float(1e20)), `"n":"m/c","v":100000000000000000000`},
		{"larger float", val(tidegate.Float(1e21)), `"n":"m/c","v":1e+21`},
		{"small float", val(tidegate.Float(5e-324)), `"n":"m/c","v":5e-324`},
		{"minus zero", val(tidegate.Float(math.Copysign(0, -1))), `"n":"m/c","v":-0`},
		{"not a number is a fault", val(tidegate.Float(math.NaN())), `"n":"m/c/fault","vs":"value is not a number"`},
		{"infinite is a fault", val(tidegate.Float(math.Inf(1))), `"n":"m/c/fault","vs":"value is infinite"`},
		{"minus infinite is a fault", val(tidegate.Float(math.Inf(-1))), `"n":"m/c/fault","vs":"value is minus infinite"`},
		{"no value is a fault", val(tidegate.Value{}), `"n":"m/c/fault","vs":"no value"`},
		{"a kind of the future is a fault", val(tidegate.RawValue(9, 1, "x")), `"n":"m/c/fault","vs":"no value"`},
		{
			"fault",
			tidegate.Reading{Device: "m", Channel: "c", Fault: "no reply within 1s", Value: tidegate.Int(3)},
			`"n":"m/c/fault","vs":"no reply within 1s"`,
		},
		{"yes", val(tidegate.Bool(true)), `"n":"m/c","vb":true`},
		{"no", val(tidegate.Bool(false)), `"n":"m/c","vb":false`},
		{"text", val(tidegate.Text("a\"b\\c\n\x00\x7fé\u2028")), `"n":"m/c","vs":"a\"b\\c\u000a\u0000` + "\x7fé\u2028" + `"`},
		{"text that is not UTF-8", val(tidegate.Text("a\xffb\xc3")), `"n":"m/c","vs":"a` + "\uFFFDb\uFFFD" + `"`},
		{"bytes", val(tidegate.Bytes([]byte{0xfb, 0xff, 0})), `"n":"m/c","vd":"-_8A"`},
		{"no bytes", val(tidegate.Bytes(nil)), `"n":"m/c","vd":""`},
		{"unit", tidegate.Reading{Device: "m", Channel: "c", Unit: `%"RH`, Value: tidegate.Int(1)}, `"n":"m/c","u":"%\"RH","v":1`},
		{
			"time of its own",
			tidegate.Reading{Device: "m", Channel: "c", Value: tidegate.Int(1), Time: noon.Add(-1500 * time.Microsecond)},
			`"n":"m/c","v":1,"t":-0.0015`,
		},
		{"the record's time", tidegate.Reading{Device: "m", Channel: "c", Value: tidegate.Int(1), Time: noon.Add(999)}, `"n":"m/c","v":1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, err := AppendSenML(nil, one(tt.in))
			want := `[{"bn":"urn:tidegate:gw-1:","ep":"e7","bt":1792000000.000006,"seq":48211,` + tt.want + `}]`
			if err != nil || string(body) != want {
				t.Fatalf("got  %s, %v\nwant %s", body, err, want)
			}
		})
	}
}

// TestAppendSenMLPack wants the exact bytes of packs with everything that stands around readings.
func TestAppendSenMLPack(t *testing.T) {
	p := &Pack{Gateway: "gw-1", Epoch: "e7", Skip: tidegate.Ranges{{First: 8, Last: 8}, {First: 11, Last: 20}}, Records: []tidegate.Record{
		{
			Number: 9, Time: time.Unix(1792000000, 0), Quality: tidegate.TimeCorrected, Boot: 5, For: "x",
			Readings: []tidegate.Reading{val(tidegate.Int(1)), val(tidegate.Int(2))},
		},
		{Number: math.MaxUint64, Time: time.Unix(-1, 5e8), Readings: []tidegate.Reading{val(tidegate.Int(3))}},
	}}
	want := `x[{"bn":"urn:tidegate:gw-1:","ep":"e7","skip":[[8,8],[11,20]],"bt":1792000000,"seq":9,"tq":"corrected","n":"m/c","v":1},` +
		`{"n":"m/c","v":2},{"bt":-0.5,"seq":18446744073709551615,"n":"m/c","v":3}]`
	if body, err := AppendSenML([]byte("x"), p); err != nil || string(body) != want {
		t.Errorf("got  %s, %v\nwant %s", body, err, want)
	}
	part := one(val(tidegate.Int(1)))
	part.Part = Part{2, 3}
	want = `[{"bn":"urn:tidegate:gw-1:","ep":"e7","part":"2/3","bt":1792000000.000006,"seq":48211,"n":"m/c","v":1}]`
	if body, err := AppendSenML(nil, part); err != nil || string(body) != want {
		t.Errorf("got  %s, %v\nwant %s", body, err, want)
	}
	p.Records = nil
	want = `[{"bn":"urn:tidegate:gw-1:","ep":"e7","skip":[[8,8],[11,20]],"n":"_gateway/skip","vb":true}]`
	if body, err := AppendSenML(nil, p); err != nil || string(body) != want {
		t.Errorf("got  %s, %v\nwant %s", body, err, want)
	}
}

// TestAppendSenMLRefuses wants the exact text for what can never be sent, and dst as it was.
func TestAppendSenMLRefuses(t *testing.T) {
	good := val(tidegate.Int(1))
	edit := func(f func(p *Pack)) *Pack {
		p := one(good)
		f(p)
		return p
	}
	tests := []struct {
		name string
		in   *Pack
		want string
	}{
		{"gateway", edit(func(p *Pack) { p.Gateway = "a/b" }), `encode SenML: gateway: name contains '/', allowed are A-Z a-z 0-9 . _ -`},
		{"epoch", edit(func(p *Pack) { p.Epoch = "" }), "encode SenML: epoch: name is empty"},
		{"nothing", edit(func(p *Pack) { p.Records = nil }), "encode SenML: pack has neither records nor numbers to skip"},
		{"skip", edit(func(p *Pack) { p.Skip = tidegate.Ranges{{First: 0, Last: 4}} }), "encode SenML: got [0,4] to skip behind 0, want rising numbers from 1 on"},
		{"part beyond", edit(func(p *Pack) { p.Part = Part{3, 2} }), "encode SenML: got part 3/2, want 1 to 1000 parts"},
		{"part of two", edit(func(p *Pack) { p.Part = Part{1, 2}; p.Records = append(p.Records, p.Records...) }), "encode SenML: got a part of 2 records, want 1"},
		{"number 0", edit(func(p *Pack) { p.Records[0].Number = 0 }), "encode SenML: record 0 follows record 0, want rising numbers from 1 on"},
		{"number twice", edit(func(p *Pack) { p.Records = append(p.Records, p.Records...) }), "encode SenML: record 48211 follows record 48211, want rising numbers from 1 on"},
		{"no readings", one(), "encode SenML: record 48211: got 0 readings, want 1 to 1000"},
		{"too many readings", one(make([]tidegate.Reading, 1001)...), "encode SenML: record 48211: got 1001 readings, want 1 to 1000"},
		{"time", edit(func(p *Pack) { p.Records[0].Time = time.UnixMicro(4e18 + 1).UTC() }), "encode SenML: record 48211: time 128724-12-15 07:06:40.000001 +0000 UTC is out of range"},
		{"quality", edit(func(p *Pack) { p.Records[0].Quality = 4 }), "encode SenML: record 48211: got time quality 4, want at most 3"},
		{"device", one(good, tidegate.Reading{Device: "a b", Channel: "c"}), `encode SenML: record 48211: reading 1: device "a b" cannot stand in a name`},
		{"no device", one(tidegate.Reading{Channel: "c"}), `encode SenML: record 48211: reading 0: device "" cannot stand in a name`},
		{"channel", one(good, tidegate.Reading{Device: "m", Channel: "c/fault"}), `encode SenML: record 48211: reading 1: channel "c/fault" cannot stand in a name`},
		{"own time", one(good, tidegate.Reading{Device: "m", Channel: "c", Time: time.UnixMicro(-4e18).UTC()}), "encode SenML: record 48211: reading 1: time -124785-01-17 16:53:20 +0000 UTC is out of range"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, err := AppendSenML([]byte("x"), tt.in)
			if err == nil || err.Error() != tt.want || string(body) != "x" {
				t.Fatalf("got  %.80s, %v\nwant %s", body, err, tt.want)
			}
		})
	}
}

// drawPack draws any pack that can be sent.
func drawPack(t *rapid.T) *Pack {
	names := rapid.OneOf(rapid.StringMatching(`[A-Za-z0-9.-][A-Za-z0-9._-]{0,5}`), rapid.Just("fault"))
	p := &Pack{Gateway: names.Draw(t, "gateway"), Epoch: names.Draw(t, "epoch")}
	number := uint64(0)
	rise := func(label string) uint64 {
		number += rapid.Uint64Range(1, 9).Draw(t, label)
		return number
	}
	for range rapid.IntRange(0, 3).Draw(t, "skips") {
		first := rise("skip")
		p.Skip.Add(tidegate.Range{First: first, Last: rise("skip to")})
	}
	micros := rapid.Int64Range(-1<<51, 1<<51)
	for range rapid.IntRange(0, 5).Draw(t, "records") {
		at := time.UnixMicro(micros.Draw(t, "at")).UTC()
		rec := tidegate.Record{Number: rise("number"), Time: at, Quality: tidegate.TimeQuality(rapid.IntRange(0, 3).Draw(t, "quality"))}
		for range rapid.IntRange(1, 5).Draw(t, "readings") {
			r := tidegate.Reading{Device: names.Draw(t, "device"), Channel: names.Draw(t, "channel"), Unit: rapid.String().Draw(t, "unit")}
			switch rapid.IntRange(0, 6).Draw(t, "kind") {
			case 0:
				r.Value = tidegate.RawValue(tidegate.KindFloat, rapid.Uint64().Draw(t, "float"), "")
			case 1:
				r.Value = tidegate.Float(float64(rapid.IntRange(-99999, 99999).Draw(t, "m")) / 100)
			case 2:
				r.Value = tidegate.Int(rapid.Int64().Draw(t, "int"))
			case 3:
				r.Value = tidegate.Uint(rapid.Uint64().Draw(t, "uint"))
			case 4:
				r.Value = tidegate.Text(string(rapid.SliceOf(rapid.Byte()).Draw(t, "text")) + rapid.String().Draw(t, "more"))
			case 5:
				r.Value = tidegate.Bytes(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
			case 6:
				r.Fault = rapid.StringN(1, 9, 40).Draw(t, "fault")
			}
			if rapid.Bool().Draw(t, "timed") {
				r.Time = time.UnixMicro(micros.Draw(t, "own")).UTC()
			}
			rec.Readings = append(rec.Readings, r)
		}
		p.Records = append(p.Records, rec)
	}
	if len(p.Records) == 0 && len(p.Skip) == 0 {
		p.Skip.Add(tidegate.Range{First: 5, Last: math.MaxUint64})
	}
	return p
}

// onWire returns r as it comes back: what AppendSenML says it changes.
func onWire(r tidegate.Reading, at time.Time) tidegate.Reading {
	if r.Time.Equal(at) {
		r.Time = time.Time{}
	}
	kind, bits, text := r.Value.Raw()
	fault := r.Fault
	if fault == "" {
		fault = faultOf(kind, bits)
	}
	f, number := r.Value.Number()
	switch {
	case fault != "":
		r.Value, r.Fault = tidegate.Value{}, fault
	case (kind == tidegate.KindInt || kind == tidegate.KindUint) && math.Abs(f) > 1<<53,
		kind == tidegate.KindUint && bits == 1<<53+1, kind == tidegate.KindInt && (int64(bits) == 1<<53+1 || int64(bits) == -1<<53-1):
		r.Value = tidegate.Text(r.Value.String())
	case number && kind != tidegate.KindBool:
		r.Value = tidegate.Float(f)
	case kind == tidegate.KindText:
		r.Value = tidegate.Text(strings.Join(strings.SplitAfter(toValid(text), ""), ""))
	}
	return r
}

// toValid puts U+FFFD in the place of each byte that is not UTF-8.
func toValid(s string) string {
	var b strings.Builder
	for _, r := range s { // ranging over a string does just that
		b.WriteRune(r)
	}
	return b.String()
}

// samePack says how got differs from want, which has been sent; "" = not at all.
func samePack(got, want *Pack) string {
	if got.Gateway != want.Gateway || got.Epoch != want.Epoch || got.Part != want.Part || fmt.Sprint(got.Skip) != fmt.Sprint(want.Skip) ||
		len(got.Records) != len(want.Records) {
		return fmt.Sprintf("got %+v, want %+v", got, want)
	}
	for i := range want.Records {
		g, w := got.Records[i], want.Records[i]
		if g.Number != w.Number || g.Time != w.Time || g.Quality != w.Quality || len(g.Readings) != len(w.Readings) {
			return fmt.Sprintf("record %d: got %+v, want %+v", i, g, w)
		}
		for k := range w.Readings {
			if gr, wr := g.Readings[k], onWire(w.Readings[k], w.Time); gr != wr {
				return fmt.Sprintf("record %d, reading %d: got %#v, want %#v", i, k, gr, wr)
			}
		}
	}
	return ""
}

// TestAnyPackComesBack sends any pack and wants it back but for what AppendSenML says it changes.
func TestAnyPackComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPack(t)
		body, err := AppendSenML(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(body) {
			t.Fatalf("not UTF-8: %q", body)
		}
		got, err := DecodeSenML(body)
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if diff := samePack(got, p); diff != "" {
			t.Fatal(diff)
		}
	})
}

// work makes one batch of the bench: 5,000 readings of 50 devices with 40 registers each, the same as the stored form is measured by.
func work() *Pack {
	rnd := rand.New(rand.NewPCG(1, 2))
	p := &Pack{Gateway: "gw-bench", Epoch: "6c7f0e9ab1d24c5e"}
	for n := range 125 {
		cycle, dev := n/50, n%50
		at := noon.Add(time.Duration(cycle)*100*time.Millisecond + time.Duration(dev)*1800*time.Microsecond)
		rec := tidegate.Record{Number: uint64(480000 + n), Time: at}
		for i := range 40 {
			v := uint64(cycle + 100000 + 1000*dev + i)
			switch {
			case i == 39:
				v = uint64(rnd.Uint32())
			case i >= 20:
				v = uint64(30000 + 20000*math.Sin(2*math.Pi*(float64(cycle)/600+float64(dev*40+i)/17)))
			}
			rec.Readings = append(rec.Readings, tidegate.Reading{Device: fmt.Sprintf("meter%d", dev), Channel: fmt.Sprintf("r%d", i), Value: tidegate.Uint(v)})
		}
		p.Records = append(p.Records, rec)
	}
	return p
}

func BenchmarkAppendSenML(b *testing.B) {
	p := work()
	var body []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if body, err = AppendSenML(body[:0], p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/reading")
	b.ReportMetric(float64(len(body))/5000, "bytes/reading")
	b.ReportMetric(float64(len(compressed(b, body)))/5000, "gzip-bytes/reading")
}

func BenchmarkDecodeSenML(b *testing.B) {
	body, err := AppendSenML(nil, work())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeSenML(body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/reading")
}
