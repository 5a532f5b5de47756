package wire

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

var update = flag.Bool("update", false, "write the vectors anew")

// A vector says what a payload holds, or that it is to be refused: testdata/wire/README.md.
type vector struct {
	About   string          `json:"about,omitempty"`
	Expect  string          `json:"expect"` // "pack", "receipt" or "refused"
	Error   string          `json:"error,omitempty"`
	Gateway string          `json:"gateway,omitempty"`
	Epoch   string          `json:"ep,omitempty"`
	Upto    string          `json:"upto,omitempty"`
	Holes   [][2]string     `json:"holes,omitempty"`
	Skip    [][2]string     `json:"skip,omitempty"`
	Part    string          `json:"part,omitempty"`
	Records []vectorRecord  `json:"records,omitempty"`
	Gaps    []*tidegate.Gap `json:"gaps,omitempty"`
}

type vectorRecord struct {
	Seq      string          `json:"seq"`
	TimeUS   int64           `json:"time_us"`
	Quality  string          `json:"tq"`
	Labels   string          `json:"lb,omitempty"`
	Readings []vectorReading `json:"readings"`
}

type vectorReading struct {
	Device  string `json:"device"`
	Channel string `json:"channel"`
	Unit    string `json:"unit"`
	Kind    string `json:"kind"` // "number", "bool", "text", "bytes" or "fault"
	Value   string `json:"value"`
	TimeUS  int64  `json:"time_us"`
}

func pairs(rs tidegate.Ranges) [][2]string {
	var out [][2]string
	for _, r := range rs {
		out = append(out, [2]string{strconv.FormatUint(r.First, 10), strconv.FormatUint(r.Last, 10)})
	}
	return out
}

// describe says what p holds as the vectors do.
func describe(t *testing.T, p *Pack) vector {
	t.Helper()
	v := vector{Expect: "pack", Gateway: p.Gateway, Epoch: p.Epoch, Skip: pairs(p.Skip)}
	if p.Part != (Part{}) {
		v.Part = strconv.Itoa(p.Part.Index) + "/" + strconv.Itoa(p.Part.Total)
	}
	for _, rec := range p.Records {
		out := vectorRecord{Seq: strconv.FormatUint(rec.Number, 10), TimeUS: rec.Time.UnixMicro(), Quality: rec.Quality.String(), Labels: rec.Labels}
		for _, r := range rec.Readings {
			d := vectorReading{Device: r.Device, Channel: r.Channel, Unit: r.Unit, TimeUS: out.TimeUS}
			if !r.Time.IsZero() {
				d.TimeUS = r.Time.UnixMicro()
			}
			d.Kind, d.Value = describeValue(r)
			out.Readings = append(out.Readings, d)
			g, ok, err := ParseGap(r)
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				v.Gaps = append(v.Gaps, &g)
			}
		}
		v.Records = append(v.Records, out)
	}
	return v
}

func describeValue(r tidegate.Reading) (kind, value string) {
	if r.Fault != "" {
		return "fault", r.Fault
	}
	text, _ := r.Value.Text()
	switch r.Value.Kind() {
	case tidegate.KindBool:
		return "bool", r.Value.String()
	case tidegate.KindText:
		return "text", text
	case tidegate.KindBytes:
		return "bytes", hex.EncodeToString([]byte(text))
	default:
		f, _ := r.Value.Number()
		return "number", string(appendFloat(nil, f))
	}
}

// vectorPacks are packs with something of everything.
func vectorPacks() map[string]*Pack {
	at := time.Unix(1792000000, 6000).UTC()
	gap := GapReading(tidegate.Gap{From: 40001, To: 48000, AtMost: 320, Cause: tidegate.CausePowerCut, T0: 1791999000000, T1: 1792000000000})
	older := GapReading(tidegate.Gap{From: 1, To: 7, Count: 280, AtMost: 280, Cause: tidegate.CauseOverflow, Epoch: "0a1b2c3d"})
	mixed := &Pack{
		Gateway: "gw-0042", Epoch: "6c7f0e9ab1d24c5e", Skip: tidegate.Ranges{{First: 48212, Last: 48212}, {First: 48215, Last: 48220}},
		Records: []tidegate.Record{
			{Number: 48211, Time: at, Readings: []tidegate.Reading{
				{Device: "plc-1", Channel: "temp", Unit: "Cel", Value: tidegate.Float(21.02)},
				{Device: "plc-1", Channel: "energy", Unit: "kWh", Value: tidegate.Uint(1<<53 + 1)},
				{Device: "plc-1", Channel: "power", Unit: "W", Value: tidegate.Int(-1200)},
				{Device: "plc-1", Channel: "relay", Value: tidegate.Bool(true)},
				{Device: "plc-1", Channel: "state", Value: tidegate.Text("run \"1\"\n\x01é\U0001F600")},
				{Device: "plc-1", Channel: "raw", Value: tidegate.Bytes([]byte{0, 0xfb, 0xff, 0x10})},
				{Device: "plc-1", Channel: "ratio", Unit: "/", Value: tidegate.Float(math.Copysign(0, -1))},
				{Device: "plc-1", Channel: "small", Value: tidegate.Float(math.SmallestNonzeroFloat64)},
				{Device: "plc-1", Channel: "large", Value: tidegate.Float(-1.5e300)},
			}},
			{Number: 48213, Time: at.Add(100 * time.Millisecond), Quality: tidegate.TimeCorrected, Readings: []tidegate.Reading{
				{Device: "ahu-2", Channel: "humidity", Unit: "%RH", Fault: "no reply within 1s"},
				{Device: "ahu-2", Channel: "flow", Value: tidegate.Float(math.NaN())},
			}},
			{Number: 48214, Time: at.Add(time.Second), Quality: tidegate.TimeEstimated, Readings: []tidegate.Reading{
				{Device: "door", Channel: "edge", Value: tidegate.Bool(true), Time: at.Add(999500 * time.Microsecond)},
				{Device: "door", Channel: "edge", Value: tidegate.Bool(false), Time: at.Add(1999 * time.Millisecond)},
			}},
			{Number: 48221, Time: time.Unix(-1, 5e8).UTC(), Quality: tidegate.TimeRelative, Readings: []tidegate.Reading{
				{Device: "plc-1", Channel: "temp", Unit: "Cel", Value: tidegate.Float(1e21)},
			}},
		},
	}
	part := &Pack{Gateway: "gw-0042", Epoch: "6c7f0e9ab1d24c5e", Part: Part{2, 3}, Records: mixed.Records[:1]}
	gaps := &Pack{Gateway: "gw-0042", Epoch: "6c7f0e9ab1d24c5e", Records: []tidegate.Record{
		{Number: 48222, Time: at, Readings: []tidegate.Reading{gap, older}},
	}}
	skip := &Pack{Gateway: "gw-0042", Epoch: "6c7f0e9ab1d24c5e", Skip: tidegate.Ranges{{First: 48223, Last: 48300}}}
	called := &Pack{Gateway: "gw-0042", Epoch: "6c7f0e9ab1d24c5e", Records: []tidegate.Record{
		{Number: 48301, Time: at, Readings: []tidegate.Reading{
			{Device: "meter1", Channel: "fault", Value: tidegate.Bool(true)},
			{Device: "meter1", Channel: "fault", Fault: "no reply within 1s"},
			{Device: "fault", Channel: "fault", Value: tidegate.Text("fault")},
			{Device: "fault", Channel: "fault", Fault: "no reply within 1s"},
		}},
	}}
	labelled := &Pack{Gateway: "gw-0042", Epoch: "6c7f0e9ab1d24c5e", Records: []tidegate.Record{
		{Number: 48302, Time: at, Quality: tidegate.TimeEstimated, Labels: `{"batch":"4711 \"ä\"","mode":"auto"}`, Readings: mixed.Records[0].Readings[:2]},
		{Number: 48303, Time: at, Readings: mixed.Records[0].Readings[:1]},
	}}
	return map[string]*Pack{"mixed": mixed, "part": part, "gaps": gaps, "skip": skip, "called-fault": called, "labelled": labelled}
}

// bases is a pack as RFC 8428 allows it and no gateway of ours sends it.
const bases = `[{"bver":10,"bn":"urn:tidegate:gw-1:m/","ep":"e7","bt":1.792e9,"bu":"Cel","bv":20,"t":-1.5,"seq":3,"n":"a","v":1.5,"later":{"x":[1]}},` +
	`{"n":"b","u":"V","v":-20},{"bn":"urn:tidegate:","n":"gw-1:n/c","t":2.5,"vb":false},` +
	`{"bt":1792000001,"bn":"urn:tidegate:gw-1:","n":"n/d/fault","vs":"x"},{"seq":4,"tq":"relative","n":"n/e","bv":0,"v":0.25}]`

func writePacks(t *testing.T) {
	t.Helper()
	bodies := map[string][]byte{"bases": []byte(bases)}
	for name, p := range vectorPacks() {
		body, err := AppendSenML(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		bodies[name] = body
	}
	for name, body := range bodies {
		p, err := DecodeSenML(body)
		if err != nil {
			t.Fatal(err)
		}
		writeVector(t, filepath.Join(vectorDir, "senml", name), body, indent(t, describe(t, p)))
	}
	for name, r := range map[string]Receipt{
		"empty": {Epoch: "e7"},
		"holes": {Epoch: "6c7f0e9ab1d24c5e", Upto: 48220, Holes: tidegate.Ranges{{First: 100, Last: 199}, {First: 48212, Last: 48212}}},
	} {
		v := vector{Expect: "receipt", Epoch: r.Epoch, Upto: strconv.FormatUint(r.Upto, 10), Holes: pairs(r.Holes)}
		writeVector(t, filepath.Join(vectorDir, "receipt", name), AppendReceipt(nil, r), indent(t, v))
	}
}

func indent(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// vectors calls f with every payload of a folder under testdata/wire and what is expected of it.
func vectors(t *testing.T, folder string, f func(t *testing.T, name string, body []byte, v vector)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(vectorDir, folder, "*.expect.json"))
	if err != nil || len(names) < 10 {
		t.Fatalf("got %d vectors, %v, want at least 10", len(names), err)
	}
	for _, name := range names {
		name = strings.TrimSuffix(name, ".expect.json")
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name + ".expect.json")
			if err != nil {
				t.Fatal(err)
			}
			var v vector
			if err := json.Unmarshal(text, &v); err != nil {
				t.Fatal(err)
			}
			body, err := os.ReadFile(name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			f(t, name+".json", body, v)
		})
	}
}

// TestSenMLVectors decodes every payload under testdata/wire/senml and wants what stands beside it.
func TestSenMLVectors(t *testing.T) {
	if *update {
		writePacks(t)
	}
	vectors(t, "senml", func(t *testing.T, _ string, body []byte, v vector) {
		p, err := DecodeSenML(body)
		if v.Expect == "refused" {
			if err == nil || err.Error() != "decode SenML: "+v.Error {
				t.Fatalf("got %v, want %s", err, v.Error)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(indent(t, describe(t, p))), string(indent(t, v)); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}

// TestSentVectors wants the very bytes of the vectors from the packs they were made of.
func TestSentVectors(t *testing.T) {
	for name, p := range vectorPacks() {
		want, err := os.ReadFile(filepath.Join(vectorDir, "senml", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := AppendSenML(nil, p); err != nil || string(got) != string(want) {
			t.Errorf("%s: got  %s, %v\nwant %s", name, got, err, want)
		}
	}
}

// TestReceiptVectors reads every receipt under testdata/wire/receipt and wants what stands beside it.
func TestReceiptVectors(t *testing.T) {
	vectors(t, "receipt", func(t *testing.T, _ string, body []byte, v vector) {
		r, err := ParseReceipt(body)
		if v.Expect == "refused" {
			if err == nil || err.Error() != "read receipt: "+v.Error {
				t.Fatalf("got %v, want %s", err, v.Error)
			}
			return
		}
		got := vector{Expect: "receipt", Epoch: r.Epoch, Upto: strconv.FormatUint(r.Upto, 10), Holes: pairs(r.Holes)}
		if err != nil || string(indent(t, got)) != string(indent(t, v)) {
			t.Fatalf("got %+v, %v, want %+v", got, err, v)
		}
	})
}

// otherDecoder runs the decoder in another language, which shares nothing with this one.
func otherDecoder(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatalf("node is missing: %v; install Debian's nodejs", err)
	}
	return exec.Command(node, append([]string{"../../testdata/rig/checkers/decode.js"}, args...)...).Output()
}

// compressed returns body as gzip.
func compressed(t testing.TB, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestOtherDecoder has the other decoder read the packs, plain and compressed.
func TestOtherDecoder(t *testing.T) {
	for i, name := range []string{"mixed", "part", "gaps", "skip", "bases", "called-fault", "labelled"} {
		path := filepath.Join(vectorDir, "senml", name)
		text, err := os.ReadFile(path + ".expect.json")
		if err != nil {
			t.Fatal(err)
		}
		if path += ".json"; i%2 == 0 {
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			path = filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, compressed(t, body), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := otherDecoder(t, "--pack", path)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got, want vector
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if g, w := string(indent(t, got)), string(indent(t, want)); g != w {
			t.Errorf("%s: got  %s\nwant %s", name, g, w)
		}
	}
}

// TestOtherDecoderCounts has the other decoder count a stream with a repeated payload, a record in parts, a gap and skipped
// numbers, then the same with a reading lost, one too many, one under two numbers and a payload that is none.
func TestOtherDecoderCounts(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, lines []any) string {
		var b bytes.Buffer
		for _, l := range lines {
			if err := json.NewEncoder(&b).Encode(l); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	type published struct {
		Topic   string `json:"topic"`
		Payload []byte `json:"payload"`
	}
	send := func(p *Pack) any {
		body, err := AppendSenML(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		return published{"tg/v1/gw-0042/up/data", compressed(t, body)}
	}
	packs := vectorPacks()
	half := func(i int) *Pack {
		p := *packs["part"]
		p.Part = Part{i + 1, 2}
		rec := p.Records[0]
		rec.Number = math.MaxUint64
		rec.Readings = []tidegate.Reading{{Device: "big", Channel: "n" + strconv.Itoa(i), Value: tidegate.Int(int64(i))}}
		p.Records = []tidegate.Record{rec}
		return &p
	}
	sent := []any{send(packs["mixed"]), send(half(1)), send(packs["mixed"]), send(half(0)), send(packs["gaps"]), send(packs["skip"])}
	name := write("sent", sent)
	truth, err := otherDecoder(t, name)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"truth":16,"seen":16,"missing":0,"extra":0,"duplicates":14,"doubled":0,"gaps":2,"skipped":92,"refused":0}`
	if err := os.WriteFile(filepath.Join(dir, "truth"), truth, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := otherDecoder(t, name, "--check", filepath.Join(dir, "truth")); err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("got %s, %v\nwant %s", out, err, want)
	}

	again := *packs["mixed"]
	again.Records = []tidegate.Record{again.Records[0]}
	again.Records[0].Number++
	again.Records[0].Readings = again.Records[0].Readings[:1]
	wrong := half(0)
	wrong.Records[0].Readings[0].Value = tidegate.Int(77)
	sent[3] = send(wrong)
	name = write("bad", append(sent, send(&again), published{"tg/v1/gw-0042/up/data", []byte("[]")}))
	want = `{"truth":16,"seen":17,"missing":1,"extra":1,"duplicates":14,"doubled":1,"gaps":2,"skipped":99,"refused":1}`
	out, err := otherDecoder(t, name, "--check", filepath.Join(dir, "truth"))
	if err == nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("got %s, %v\nwant %s", out, err, want)
	}
}
