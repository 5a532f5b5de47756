package intake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/unit"
)

const testText = "0123456789abcdef"

var testKey = NewKey(testText)

var all = []Step{
	{Do: Redact, Channels: []string{"door.badge", "door.op*"}, Text: "***"},
	{Do: Hash, Channels: []string{"door.card"}, Key: testKey},
	{Do: Convert, Channels: []string{"boiler.*"}, Unit: "bar"},
}

// one returns what steps make of x.
func one(steps []Step, x tidegate.Reading) tidegate.Reading {
	list := []tidegate.Reading{x}
	For(steps, x.Device, nil).Apply(list)
	return list[0]
}

// values are of all kinds.
func values() *rapid.Generator[tidegate.Value] {
	return rapid.OneOf(
		rapid.Map(rapid.Float64(), tidegate.Float), rapid.Map(rapid.Int64(), tidegate.Int), rapid.Map(rapid.Uint64(), tidegate.Uint),
		rapid.Map(rapid.Bool(), tidegate.Bool), rapid.Map(rapid.String(), tidegate.Text), rapid.Map(rapid.SliceOf(rapid.Byte()), tidegate.Bytes),
		rapid.SampledFrom([]tidegate.Value{{}, tidegate.Float(math.NaN()), tidegate.Float(math.Inf(1)), tidegate.Float(math.Inf(-1)), tidegate.Float(math.Copysign(0, -1))}),
	)
}

// TestWhatIsConcerned: each reading of a channel that is concerned is changed, in nothing but value, unit and fault, and no other is.
func TestWhatIsConcerned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := tidegate.Reading{
			Device:  rapid.SampledFrom([]string{"door", "boiler", "meter", "doo", "door.b"}).Draw(t, "device"),
			Channel: rapid.SampledFrom([]string{"badge", "open", "card", "op", "pressure", "x", "_device", "adge"}).Draw(t, "channel"),
			Value:   values().Draw(t, "value"), Unit: rapid.SampledFrom([]string{"", "kPa", "bar", "Cel", "parsec"}).Draw(t, "unit"),
			Fault: rapid.SampledFrom([]string{"", "cites 4711"}).Draw(t, "fault"),
			Time:  time.Unix(rapid.Int64Range(0, 1e9).Draw(t, "time"), 0),
		}
		got := one(all, x)
		want := x
		switch name := x.Device + "." + x.Channel; {
		case name == "door.badge", name == "door.open", name == "door.op":
			want.Value, want.Unit = tidegate.Text("***"), ""
			if x.Fault != "" {
				want.Value, want.Fault = tidegate.Value{}, HiddenFault
			}
		case name == "door.card":
			want.Value, want.Unit = tidegate.Text(hashed(x.Value)), ""
			if x.Fault != "" {
				want.Value, want.Fault = tidegate.Value{}, HiddenFault
			}
		case x.Channel == "_device":
			if x.Fault != "" && x.Device == "door" {
				want.Fault = HiddenFault
			}
		case x.Device == "boiler":
			want = converted(x, "bar")
		}
		if got != want && !(math.IsNaN(number(got)) && math.IsNaN(number(want)) && got.Unit == want.Unit) {
			t.Fatalf("%+v became %+v, want %+v", x, got, want)
		}
	})
}

func number(x tidegate.Reading) float64 { f, _ := x.Value.Number(); return f }

// hashed is the hash of v as rules/README.md has it.
func hashed(v tidegate.Value) string {
	text := v.String()
	if f, ok := v.Number(); ok && v.Kind() == tidegate.KindFloat {
		if text = fmt.Sprintf("%f", f); f == math.Trunc(f) {
			text, _, _ = strings.Cut(text, ".")
		}
		if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			text = shortest(f)
		}
		if f == 0 {
			text = "0"
		}
	}
	mac := hmac.New(sha256.New, []byte(testText))
	fmt.Fprintf(mac, "%s\x00%s", v.Kind(), text)
	return hex.EncodeToString(mac.Sum(nil))[:32]
}

// shortest returns the least number of digits that reads back as f, as a decimal without an exponent.
func shortest(f float64) string {
	text := fmt.Sprintf("%v", f)
	mantissa, exponent, ok := strings.Cut(text, "e")
	if !ok {
		return text
	}
	var e int
	if _, err := fmt.Sscan(exponent, &e); err != nil {
		return text
	}
	sign := ""
	if strings.HasPrefix(mantissa, "-") {
		sign, mantissa = "-", mantissa[1:]
	}
	whole, rest, _ := strings.Cut(mantissa, ".")
	if e < 0 {
		return sign + "0." + strings.Repeat("0", -e-1) + whole + rest
	}
	if len(rest) <= e {
		return sign + whole + rest + strings.Repeat("0", e-len(rest))
	}
	return sign + whole + rest[:e] + "." + rest[e:]
}

// converted is x in another unit, by the table that `to` uses.
func converted(x tidegate.Reading, to string) tidegate.Reading {
	out := x
	f, ok := x.Value.Number()
	by, err := unit.Convert(x.Unit, to)
	failed := tidegate.Reading{Device: x.Device, Channel: x.Channel, Time: x.Time}
	switch {
	case x.Fault != "" && x.Unit != "":
		out.Unit = to
	case x.Fault != "":
	case !ok || x.Value.Kind() == tidegate.KindBool:
		failed.Fault = fmt.Sprintf("value is a %s in unit %q and cannot be converted to %q: only numbers can", x.Value.Kind(), x.Unit, to)
		return failed
	case err != nil:
		failed.Fault = fmt.Sprintf("number in unit %q cannot be converted to %q: %v", x.Unit, to, err)
		return failed
	case math.IsInf(f, 0) || math.IsNaN(f):
		out.Unit = to
	default:
		out.Value, out.Unit = tidegate.Float(by.Of(f)), to
	}
	return out
}

// TestKnownAnswers: by figures that were worked out elsewhere.
func TestKnownAnswers(t *testing.T) {
	card := func(v tidegate.Value) string {
		return one(all, tidegate.Reading{Device: "door", Channel: "card", Value: v}).Value.String()
	}
	// printf 'text\0A4711' | openssl dgst -sha256 -hmac 0123456789abcdef | cut -c 1-32
	for want, list := range map[string][]tidegate.Value{
		"78a2a623f2a67c4e9fc8c4c656437504": {tidegate.Text("A4711")}, "053c28cf57030d83547a777d22570cbf": {tidegate.Int(1234567), tidegate.Uint(1234567), tidegate.Float(1234567)},
		"5be04663c0b9ee38c3bb7005450ad5f8": {tidegate.Bool(true)}, "f1c63fb298bd01feceadb21250bd613b": {tidegate.Float(math.Copysign(0, -1)), tidegate.Int(0)}, "6cbe5fcb49977b92ae7b8438f9f557c5": {tidegate.Bytes([]byte{0xa4, 0x71})},
	} {
		for _, v := range list {
			if got := card(v); got != want {
				t.Errorf("%v %v: got %s, want %s", v.Kind(), v, got, want)
			}
		}
	}
	for _, c := range []struct {
		v    float64
		from string
		want float64
	}{{250, "kPa", 2.5}, {1e5, "Pa", 1}, {3, "bar", 3}, {14.503773773020923, "psi", 1}} {
		x := one(all, tidegate.Reading{Device: "boiler", Channel: "p", Value: tidegate.Float(c.v), Unit: c.from})
		if got, _ := x.Value.Number(); math.Abs(got-c.want) > 1e-12 || x.Unit != "bar" || x.Fault != "" {
			t.Errorf("%v %s: got %+v", c.v, c.from, x)
		}
	}
	x := one(all, tidegate.Reading{Device: "boiler", Channel: "p", Value: tidegate.Int(250), Unit: "kPa"})
	if x.Value != tidegate.Float(2.5) {
		t.Errorf("integer became %v %v", x.Value.Kind(), x.Value)
	}
	x = one([]Step{{Do: Convert, Channels: []string{"b.*"}, Unit: "Pa"}}, tidegate.Reading{Device: "b", Channel: "p", Value: tidegate.Float(1e305), Unit: "MPa"})
	if x.Fault != "1e+305 MPa is more than a number in Pa can be" {
		t.Errorf("got %+v", x)
	}
}

// TestFaults: what is said of a device as a whole, and what cannot be converted.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		x    tidegate.Reading
		want string
	}{
		{tidegate.Reading{Device: "door", Channel: "_device", Fault: "no end: A4711"}, HiddenFault},
		{tidegate.Reading{Device: "boiler", Channel: "_device", Fault: "no answer"}, "no answer"},
		{tidegate.Reading{Device: "door", Channel: "card", Fault: "A4711", Value: tidegate.Text("A4711")}, HiddenFault},
		{tidegate.Reading{Device: "door", Channel: "x", Fault: "too hot"}, "too hot"},
		{tidegate.Reading{Device: "boiler", Channel: "p", Fault: "too hot", Unit: "kPa"}, "too hot"},
		{tidegate.Reading{Device: "boiler", Channel: "p", Value: tidegate.Bool(true), Unit: "kPa"}, `value is a yes/no in unit "kPa" and cannot be converted to "bar": only numbers can`},
		{tidegate.Reading{Device: "boiler", Channel: "p", Value: tidegate.Int(1), Unit: "Cel"}, `number in unit "Cel" cannot be converted to "bar": Cel is a temperature and bar is a pressure`},
		{tidegate.Reading{Device: "boiler", Channel: "p", Value: tidegate.Int(1)}, `number in unit "" cannot be converted to "bar": unit "" cannot be converted`},
		{tidegate.Reading{Device: "boiler", Channel: "p", Value: tidegate.Float(math.Inf(-1)), Unit: "kPa"}, ""},
		{tidegate.Reading{Device: "boiler", Channel: "p", Value: tidegate.Float(math.NaN()), Unit: "kPa"}, ""},
	} {
		got := one(all, c.x)
		isNumber := got.Value.Kind() == tidegate.KindFloat && (math.IsInf(number(got), -1) || math.IsNaN(number(got))) && got.Unit == "bar"
		if got.Fault != c.want || c.want == "" && !isNumber || c.want == HiddenFault && got.Value.Kind() != tidegate.KindNone {
			t.Errorf("%+v became %+v, want fault %q", c.x, got, c.want)
		}
	}
}

// TestOrder: steps follow each other as they stand.
func TestOrder(t *testing.T) {
	x := tidegate.Reading{Device: "a", Channel: "b", Value: tidegate.Int(250), Unit: "kPa"}
	hash := Step{Do: Hash, Channels: []string{"a.b"}, Key: testKey}
	convert := Step{Do: Convert, Channels: []string{"*"}, Unit: "bar"}
	redact := Step{Do: Redact, Channels: []string{"a.*"}, Text: "250"}
	for name, c := range map[string]struct {
		steps []Step
		want  string
	}{
		"converted, then hashed": {[]Step{convert, hash}, hashed(tidegate.Float(2.5))},
		"redacted, then hashed":  {[]Step{redact, hash}, hashed(tidegate.Text("250"))},
		"hashed, then redacted":  {[]Step{hash, redact}, "250"},
		"hashed, then converted": {[]Step{hash, convert}, ""},
	} {
		if got := one(c.steps, x); got.Value.String() != c.want {
			t.Errorf("%s: got %+v, want %s", name, got, c.want)
		}
	}
	if got := one([]Step{hash, convert}, x).Fault; got != `value is a text in unit "" and cannot be converted to "bar": only numbers can` {
		t.Errorf("got %q", got)
	}
}

// TestHides: a device is hidden as a whole when one of its channels is, or may be.
func TestHides(t *testing.T) {
	cause := errors.New("line: badge 4711 is no number")
	for _, c := range []struct {
		pattern, device string
		channels        []string
		isNil, hides    bool
	}{
		{"door.badge", "door", []string{"badge", "x"}, false, true},
		{"door.*", "door", []string{"badge"}, false, true},
		{"door.badge", "door", nil, false, true},
		{"door.badge", "meter", nil, true, false},
		{"door.badge", "doo", []string{"r"}, true, false},
		{"door.badge", "door.badge", nil, true, false},
		{"*.badge", "meter", []string{"power"}, false, false},
		{"*.badge", "meter", nil, false, true},
		{"*", "meter", []string{"power"}, false, true},
		{"me*", "meter", []string{"power"}, false, true},
		{"door.x", "door", []string{"badge"}, false, false},
	} {
		for _, do := range []Doing{Redact, Hash, Convert} {
			ch := For([]Step{{Do: do, Channels: []string{"nobody.x", c.pattern}, Key: testKey, Unit: "bar"}}, c.device, c.channels)
			want := c.hides && do != Convert
			if (ch == nil) != c.isNil || ch.Hides() != want {
				t.Errorf("%d %s of %s %v: nil %t, hides %t, want %t, %t", do, c.pattern, c.device, c.channels, ch == nil, ch.Hides(), c.isNil, want)
			}
			err := ch.Error(fmt.Errorf("%w: %w", cause, errCause))
			if !errors.Is(err, errCause) || strings.Contains(err.Error(), "4711") == want || strings.Contains(fmt.Sprint(ch.Said("4711")), "4711") == want {
				t.Errorf("%s of %s: error is %v, panic %v", c.pattern, c.device, err, ch.Said("4711"))
			}
		}
	}
	if (*Chain)(nil).Error(cause) != cause || For(all, "door", nil).Error(nil) != nil {
		t.Error("an error of a device that is not hidden is another one, or there is one where there was none")
	}
}

var errCause = errors.New("cause")

// TestMark: what does something else has another mark, and the key cannot be read off it.
func TestMark(t *testing.T) {
	seen := map[string]string{"": "none"}
	for _, s := range []Step{
		all[0], all[1], all[2],
		{Do: Redact, Channels: all[0].Channels, Text: "**"},
		{Do: Redact, Channels: all[0].Channels[:1], Text: "***"},
		{Do: Hash, Channels: all[1].Channels, Key: NewKey(testText + "g")},
		{Do: Convert, Channels: all[2].Channels, Unit: "Pa"},
	} {
		device, _, _ := strings.Cut(s.Channels[0], ".")
		m := For([]Step{s, {Do: Redact, Channels: []string{"other.x"}}}, device, nil).Mark()
		if before, twice := seen[m]; twice {
			t.Errorf("%s has the mark of %s", s.String(), before)
		}
		if seen[m] = s.String(); m != For([]Step{s}, device, nil).Mark() {
			t.Errorf("%s has another mark beside what is of another device", s.String())
		}
		for _, text := range []string{m, s.String(), fmt.Sprintf("%v %+v %#v", s, s, s), s.Mark()} {
			if strings.Contains(text, testText) {
				t.Errorf("the key stands in %q", text)
			}
		}
	}
	if m := For(all, "meter", nil).Mark(); m != "" {
		t.Errorf("a device that nothing is done with has the mark %q", m)
	}
}

// TestManyChannels: new names of channels for ever do not fill memory.
func TestManyChannels(t *testing.T) {
	c := For(all, "door", nil)
	list := make([]tidegate.Reading, 1)
	for i := range maxKnown + 10 {
		list[0] = tidegate.Reading{Channel: fmt.Sprintf("op%d", i), Value: tidegate.Int(1)}
		if c.Apply(list); list[0].Value != tidegate.Text("***") {
			t.Fatalf("channel %d: %v", i, list[0].Value)
		}
	}
	if len(c.known) != maxKnown {
		t.Errorf("%d channels are known, at most %d", len(c.known), maxKnown)
	}
}

// TestNoAllocation: what is not concerned, redacted or converted costs no memory.
func TestNoAllocation(t *testing.T) {
	for _, device := range []string{"meter", "door", "boiler"} {
		c := For(all, device, nil)
		list := make([]tidegate.Reading, 3)
		if n := testing.AllocsPerRun(100, func() {
			list[0] = tidegate.Reading{Channel: "badge", Value: tidegate.Int(4711), Unit: "Pa"}
			list[1] = tidegate.Reading{Channel: "p", Value: tidegate.Int(250), Unit: "kPa"}
			list[2] = tidegate.Reading{Channel: "x", Value: tidegate.Int(250), Unit: "bar"}
			c.Apply(list)
		}); n != 0 {
			t.Errorf("%s: %v allocations", device, n)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	for _, c := range []struct{ name, device, channel string }{
		{"unconcerned device", "meter", "x"}, {"unconcerned channel", "door", "x"}, {"redact", "door", "badge"}, {"hash", "door", "card"}, {"convert", "boiler", "p"},
	} {
		b.Run(c.name, func(b *testing.B) {
			ch := For(all, c.device, nil)
			list := make([]tidegate.Reading, 10)
			b.ReportAllocs()
			for b.Loop() {
				for i := range list {
					list[i] = tidegate.Reading{Device: c.device, Channel: c.channel, Value: tidegate.Float(250), Unit: "kPa"}
				}
				ch.Apply(list)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10, "ns/reading")
		})
	}
}
