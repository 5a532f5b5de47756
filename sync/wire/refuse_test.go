package wire

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// A refused is a payload that must be refused, and why.
type refused struct{ name, body, want string }

// in returns a pack whose first element has these labels behind its head.
func in(labels string) string { return `[{"bn":"urn:tidegate:gw-1:","ep":"e7",` + labels + `]` }

const rec1 = `"bt":1792000000,"seq":1,"n":"m/c","v":1}`

func refusedPacks() []refused {
	deep := strings.Repeat("[", 17) + strings.Repeat("]", 17)
	return []refused{
		{"empty", "", "byte 0: got the end, want \"[\""},
		{"object", "{}", "byte 0: got '{', want \"[\""},
		{"no-elements", "[]", "pack has no elements"},
		{"not-utf8", "[{\"n\":\"\xff\"}]", "pack is not UTF-8"},
		{"cut", in(rec1)[:40], "byte 40: got the end, want '\"'"},
		{"cut-escape", `[{"n":"\`, "byte 7: escape is cut off"},
		{"cut-hex", `[{"n":"\u12`, "byte 7: escape is cut off"},
		{"cut-text", `[{"n":"\n`, "byte 9: got the end, want '\"'"},
		{"trailing", in(rec1) + "]", "byte 79: got ']', want the end"},
		{"trailing-comma", in(rec1 + ","), "byte 79: got ']', want \"{\""},
		{"no-colon", `[{"n" 1}]`, "byte 6: got '1', want \":\""},
		{"control", "[{\"n\":\"a\nb\"}]", "byte 8: got the control character 0x0a in a text"},
		{"control-behind-escape", "[{\"n\":\"\\t\n\"}]", "byte 9: got the control character 0x0a in a text"},
		{"escape", `[{"n":"\x41"}]`, `byte 7: got the escape "\\x", want one of \" \\ \/ \b \f \n \r \t \u`},
		{"hex", `[{"n":"\u00g0"}]`, `byte 7: got "00g0", want four hexadecimal digits`},
		{"hex-sign", `[{"n":"\u+123"}]`, `byte 7: got "+123", want four hexadecimal digits`},
		{"lone-surrogate", `[{"n":"\ud800"}]`, "byte 13: got half of a surrogate pair"},
		{"wrong-surrogate", `[{"n":"\ud800\u0041"}]`, "byte 19: got half of a surrogate pair"},
		{"label-twice", in(`"n":"a/b",` + rec1), `byte 76: label "n" stands twice`},
		{"number-zero", in(`"bt":01}`), "byte 43: got a number that begins with 0"},
		{"number-bare", in(`"v":-}`), "byte 43: got '}', want a number"},
		{"number-point", in(`"v":1.}`), "byte 44: got '}', want a number"},
		{"number-exponent", in(`"v":1e}`), "byte 44: got '}', want a number"},
		{"number-nan", in(`"v":NaN}`), "byte 42: got 'N', want a number"},
		{"number-large", in(`"v":1e400}`), "byte 42: v: got 1e400, which a double cannot hold"},
		{"sum-large", in(`"bv":1.7e308,"bt":1792000000,"seq":1,"n":"m/c","v":1.7e308}`), "element 0: v: got 1.7e+308 + bv 1.7e+308, which a double cannot hold"},
		{"time-large", in(`"bt":1e13}`), "byte 43: bt: got 1e13 seconds, want at most 4000000000000"},
		{"time-far", in(`"bt":3e12,"seq":1,"n":"m/c","v":1},{"bt":-3e12,"n":"m/c","v":1}`), "element 1: time is -6000000000000000000 microseconds from its record's, want at most 4000000000000000000"},
		{"bool", in(`"vb":1}`), "byte 43: got '1', want true or false"},
		{"deep", in(`"x":` + deep + `,` + rec1), "byte 58: got a value nested more than 16 deep"},
		{"null-name", in(`"n":null}`), "byte 42: got 'n', want \"\\\"\""},
		{"must-understand", in(`"new_":1,` + rec1), `element 0: label "new_", which must be understood, is not known`},
		{"version", in(`"bver":11,` + rec1), "element 0: bver: got 11, want at most 10"},
		{"no-epoch", `[{"bn":"urn:tidegate:gw-1:",` + rec1 + `]`, "element 0: ep: name is empty"},
		{"epoch-late", in(rec1 + `,{"ep":"e7","n":"m/c","v":1}`), "element 1: ep, skip or part stands on another element than the first"},
		{"foreign-name", `[{"bn":"urn:dev:mac:1","n":"t","v":1}]`, `element 0: name: got "urn:dev:mac:1t", want urn:tidegate:{gateway}:{device}/{channel}`},
		{"no-base-name", `[{"n":"t","v":1}]`, `element 0: name: got "t", want urn:tidegate:{gateway}:{device}/{channel}`},
		{"gateway", `[{"bn":"urn:tidegate:_g:","n":"m/c","v":1}]`, `element 0: gateway: name begins with "_", which is reserved for the gateway itself`},
		{"two-gateways", in(rec1 + `,{"bn":"urn:tidegate:gw-2:","n":"m/c","v":1}`), `element 1: name: got gateway "gw-2", want "gw-1"`},
		{"name-no-device", in(`"n":"c","v":1}`), `element 0: name: got "c", want {device}/{channel} or {device}/{channel}/fault`},
		{"name-too-deep", in(`"n":"a/b/c","v":1}`), `element 0: name: got "a/b/c", want {device}/{channel} or {device}/{channel}/fault`},
		{"name-fault-of-fault", in(`"n":"m/fault/fault/fault","vs":"x"}`), `element 0: name: got "m/fault/fault/fault", want {device}/{channel} or {device}/{channel}/fault`},
		{"name-space", in(`"n":"a b/c","v":1}`), `element 0: name: got "a b/c", want {device}/{channel} or {device}/{channel}/fault`},
		{"no-seq", in(`"bt":1,"n":"m/c","v":1}`), "element 0: the first record has no seq"},
		{"skip-alone-elsewhere", in(rec1 + `,{"n":"_gateway/skip"}`), "element 1: element has not exactly one of v, vs, vb, vd"},
		{"no-time", in(`"seq":1,"n":"m/c","v":1}`), "element 0: record has no time: bt is missing"},
		{"seq-zero", in(`"bt":1,"seq":0,"n":"m/c","v":1}`), "element 0: seq: got 0 behind 0, want rising numbers from 1 on"},
		{"seq-falls", in(rec1 + `,{"seq":1,"n":"m/c","v":1}`), "element 1: seq: got 1 behind 1, want rising numbers from 1 on"},
		{"seq-negative", in(`"seq":-1}`), "byte 44: seq: got -1, want a whole number from 0 to 2^64-1"},
		{"seq-large", in(`"seq":18446744073709551616}`), "byte 44: seq: got 18446744073709551616, want a whole number from 0 to 2^64-1"},
		{"seq-fraction", in(`"seq":1.0}`), "byte 44: seq: got 1.0, want a whole number from 0 to 2^64-1"},
		{"tq", in(`"tq":"good",` + rec1), `element 0: tq: got "good", want corrected, estimated or relative`},
		{"tq-late", in(rec1 + `,{"tq":"relative","n":"m/c","v":1}`), "element 1: tq stands on an element without seq"},
		{"lb", in(`"lb":{"_a":"x"},` + rec1), `element 0: lb: label "_a": name begins with "_", which is reserved for the gateway itself`},
		{"lb-empty", in(`"lb":{"a":""},` + rec1), `element 0: lb: label a: text is empty`},
		{"lb-twice", in(`"lb":{"a":"x","a":"y"},` + rec1), `byte 56: lb: label "a" stands twice`},
		{"lb-number", in(`"lb":{"a":1},` + rec1), `byte 48: got '1', want "\""`},
		{"lb-late", in(rec1 + `,{"lb":{"a":"x"},"n":"m/c","v":1}`), "element 1: lb stands on an element without seq"},
		{"part", in(`"part":"0/2",` + rec1), `element 0: part: got "0/2", want 1/n to n/n, n at most 1000`},
		{"part-many", in(`"part":"1/1001",` + rec1), `element 0: part: got "1/1001", want 1/n to n/n, n at most 1000`},
		{"part-text", in(`"part":"1",` + rec1), `element 0: part: got "1", want 1/n to n/n, n at most 1000`},
		{"part-two-records", in(`"part":"1/2",` + rec1 + `,{"seq":2,"n":"m/c","v":1}`), "got a part of 2 records, want 1"},
		{"skip-falls", in(`"skip":[[5,6],[6,7]],` + rec1), "byte 57: skip: got [6,7] behind 6, want rising numbers from 1 on"},
		{"skip-empty", in(`"skip":[[6,5]],` + rec1), "byte 51: skip: got [6,5] behind 0, want rising numbers from 1 on"},
		{"skip-three", in(`"skip":[[5,6,7]],` + rec1), "byte 53: skip: got 3 numbers, want 2: first and last"},
		{"no-value", in(`"bt":1,"seq":1,"n":"m/c"}`), "element 0: element has not exactly one of v, vs, vb, vd"},
		{"two-values", in(`"bt":1,"seq":1,"n":"m/c","v":1,"vs":"1"}`), "element 0: element has not exactly one of v, vs, vb, vd"},
		{"sum-only", in(`"bt":1,"seq":1,"n":"m/c","s":1}`), "element 0: element has not exactly one of v, vs, vb, vd"},
		{"fault-number", in(`"bt":1,"seq":1,"n":"m/c/fault","v":1}`), "element 0: a fault has no text in vs"},
		{"fault-empty", in(`"bt":1,"seq":1,"n":"m/c/fault","vs":""}`), "element 0: a fault has no text in vs"},
		{"bytes-padded", in(`"bt":1,"seq":1,"n":"m/c","vd":"AA=="}`), `element 0: vd: got "AA==", want base64url without padding`},
		{"bytes-newline", in(`"bt":1,"seq":1,"n":"m/c","vd":"AA\n"}`), `element 0: vd: got "AA\n", want base64url without padding`},
		{"bytes-bits", in(`"bt":1,"seq":1,"n":"m/c","vd":"AB"}`), `element 0: vd: got "AB", want base64url without padding`},
	}
}

// TestPacksAreRefused wants the exact text for each bad payload. With -update it writes them among the vectors.
func TestPacksAreRefused(t *testing.T) {
	many := in(rec1 + strings.Repeat(`,{"n":"m/c","v":1}`, 1000))
	for _, tt := range append(refusedPacks(), refused{"readings", many, "element 1000: record 1 has more than 1000 readings"},
		refused{"large", strings.Repeat(" ", MaxBody+1), "got 16777217 bytes, want at most 16777216"}) {
		t.Run(tt.name, func(t *testing.T) {
			p, err := DecodeSenML([]byte(tt.body))
			if want := "decode SenML: " + tt.want; err == nil || err.Error() != want || p != nil {
				t.Errorf("got  %v\nwant %s\nfor  %.200s", err, want, tt.body)
			}
			if *update && len(tt.body) < 1<<10 {
				writeRefused(t, "senml", tt)
			}
		})
	}
}

func refusedReceipts() []refused {
	return []refused{
		{"empty", "", "byte 0: got the end, want \"{\""},
		{"array", "[]", "byte 0: got '[', want \"{\""},
		{"not-utf8", "{\"ep\":\"\xff\"}", "text is not UTF-8"},
		{"label-twice", `{"ep":"e7","upto":5,"upto":9,"holes":[]}`, "byte 27: label \"upto\" stands twice"},
		{"case", `{"ep":"e7","UPTO":5,"holes":[]}`, "byte 18: label \"UPTO\" is not known"},
		{"case-beside", `{"ep":"e7","upto":5,"Upto":9,"holes":[]}`, "byte 27: label \"Upto\" is not known"},
		{"escaped-label-twice", `{"ep":"e7","upto":5,"\u0075pto":9,"holes":[]}`, "byte 32: label \"upto\" stands twice"},
		{"label", `{"ep":"e7","upto":5,"holes":[],"more":1}`, "byte 38: label \"more\" is not known"},
		{"missing", `{"ep":"e7","upto":5}`, "byte 20: got not all of ep, upto and holes"},
		{"trailing", `{"ep":"e7","upto":5,"holes":[]}{}`, "byte 31: got '{', want the end"},
		{"epoch", `{"ep":"","upto":5,"holes":[]}`, "byte 29: ep: name is empty"},
		{"negative", `{"ep":"e7","upto":-5,"holes":[]}`, "byte 18: upto: got -5, want a whole number from 0 to 2^64-1"},
		{"text", `{"ep":"e7","upto":"5","holes":[]}`, "byte 18: got '\"', want a number"},
		{"exponent", `{"ep":"e7","upto":1e3,"holes":[]}`, "byte 18: upto: got 1e3, want a whole number from 0 to 2^64-1"},
		{"beyond", `{"ep":"e7","upto":5,"holes":[[4,6]]}`, "byte 36: holes: got 6, want at most upto, 5"},
		{"falls", `{"ep":"e7","upto":9,"holes":[[4,6],[2,3]]}`, "byte 40: holes: got [2,3] behind 6, want rising numbers from 1 on"},
		{"zero", `{"ep":"e7","upto":9,"holes":[[0,3]]}`, "byte 34: holes: got [0,3] behind 0, want rising numbers from 1 on"},
		{"null", `{"ep":"e7","upto":9,"holes":null}`, "byte 28: got 'n', want \"[\""},
	}
}

// TestReceiptsAreRefused wants the exact text for each bad receipt.
func TestReceiptsAreRefused(t *testing.T) {
	holes := make([]string, MaxHoles+1)
	for i := range holes {
		holes[i] = fmt.Sprintf("[%d,%d]", 2*i+1, 2*i+1)
	}
	many := `{"ep":"e7","upto":999,"holes":[` + strings.Join(holes, ",") + `]}`
	for _, tt := range append(refusedReceipts(), refused{"holes", many, "byte 570: holes: got more than 64"},
		refused{"large", strings.Repeat(" ", maxReceiptBody+1), "got 8193 bytes, want at most 8192"}) {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseReceipt([]byte(tt.body))
			if want := "read receipt: " + tt.want; err == nil || err.Error() != want || r.Epoch != "" {
				t.Errorf("got  %v\nwant %s\nfor  %.200s", err, want, tt.body)
			}
			if *update && len(tt.body) < 2<<10 {
				writeRefused(t, "receipt", tt)
			}
		})
	}
}

// TestGapsAreRefused wants the exact text for each reading that is meant to declare a gap and does not.
func TestGapsAreRefused(t *testing.T) {
	const good = `"from":1,"to":6,"count":0,"at_most":40,"cause":"power_cut","t0":0,"t1":0`
	for _, tt := range []refused{
		{"text", "gap", "byte 0: got 'g', want \"{\""},
		{"not UTF-8", "\xff", "text is not UTF-8"},
		{"long", strings.Repeat(" ", 1025), "got 1025 bytes, want at most 1024"},
		{"missing", `{"from":1}`, "byte 10: got not all of from, to, count, at_most, cause, t0 and t1"},
		{"twice", `{"to":7,` + good + `}`, `byte 22: label "to" stands twice`},
		{"label", `{"TO":7,` + good + `}`, `byte 6: label "TO" is not known`},
		{"trailing", `{` + good + `}}`, "byte 74: got '}', want the end"},
		{"from 0", `{"from":0` + good[8:] + `}`, "byte 74: got the numbers 0 to 6, want a range from 1 on"},
		{"backwards", `{"from":7` + good[8:] + `}`, "byte 74: got the numbers 7 to 6, want a range from 1 on"},
		{"count", `{"count":-1}`, "byte 9: count: got -1, want a whole number from 0 to 9223372036854775807"},
		{"cause", strings.Replace(`{`+good+`}`, "power_cut", "power cut", 1), `byte 74: cause: got "power cut", want a word`},
		{"epoch", `{` + good + `,"ep":""}`, "byte 82: ep: name is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, ok, err := ParseGap(tidegate.Reading{Device: "_gateway", Channel: "gap", Value: tidegate.Text(tt.body)})
			if want := "read gap: " + tt.want; err == nil || err.Error() != want || ok {
				t.Fatalf("got  %v, %v\nwant %s", ok, err, want)
			}
		})
	}
	_, ok, err := ParseGap(tidegate.Reading{Device: "_gateway", Channel: "gap", Fault: "x"})
	if want := `read gap: got a reading of kind none, fault "x", want text`; err == nil || err.Error() != want || ok {
		t.Fatalf("got  %v, %v\nwant %s", ok, err, want)
	}
}

// TestGapComesBack compares with the JSON that the type's own labels give, and reads it back.
func TestGapComesBack(t *testing.T) {
	for _, g := range []tidegate.Gap{
		{From: 1, To: 6, AtMost: 40, Cause: tidegate.CausePowerCut},
		{From: 1 << 63, To: 1<<64 - 1, Count: 1<<63 - 1, Cause: tidegate.CauseOverflow, T0: -5, T1: 1792000000000, Epoch: "e6"},
	} {
		r := GapReading(g)
		text, _ := r.Value.Text()
		want, err := json.Marshal(g)
		if err != nil || text != string(want) || r.Device != "_gateway" || r.Channel != "gap" {
			t.Errorf("got  %+v, %v\nwant %s", r, err, want)
		}
		if got, ok, err := ParseGap(r); got != g || !ok || err != nil {
			t.Errorf("got %+v, %v, %v, want %+v", got, ok, err, g)
		}
	}
	if _, ok, err := ParseGap(tidegate.Reading{Device: "m", Channel: "gap", Value: tidegate.Text("x")}); ok || err != nil {
		t.Errorf("another reading: got %v, %v", ok, err)
	}
}

// TestReceiptComesBack wants the exact bytes, and the same receipt again.
func TestReceiptComesBack(t *testing.T) {
	for _, tt := range []struct {
		in   Receipt
		want string
	}{
		{Receipt{Epoch: "e7"}, `{"ep":"e7","upto":0,"holes":[]}`},
		{
			Receipt{Epoch: "e7", Upto: 1<<64 - 1, Holes: tidegate.Ranges{{First: 4, Last: 6}, {First: 9, Last: 9}}},
			`{"ep":"e7","upto":18446744073709551615,"holes":[[4,6],[9,9]]}`,
		},
	} {
		body := AppendReceipt([]byte("x"), tt.in)
		if string(body) != "x"+tt.want {
			t.Errorf("got  %s\nwant x%s", body, tt.want)
		}
		got, err := ParseReceipt(body[1:])
		if err != nil || fmt.Sprint(got) != fmt.Sprint(tt.in) {
			t.Errorf("got %+v, %v, want %+v", got, err, tt.in)
		}
	}
}

// TestReceiptStopsBeforeTooManyHoles cuts a receipt with more holes than one may have.
func TestReceiptStopsBeforeTooManyHoles(t *testing.T) {
	for _, holes := range []uint64{MaxHoles, MaxHoles + 1, MaxHoles + 2} {
		r := Receipt{Epoch: "e7", Upto: 1000}
		for i := range holes {
			r.Holes.Add(tidegate.Range{First: 10*i + 5, Last: 10*i + 6})
		}
		want := r.Upto
		if holes > MaxHoles {
			want = 10*MaxHoles + 4
		}
		got, err := ParseReceipt(AppendReceipt(nil, r))
		if err != nil || got.Upto != want || len(got.Holes) != MaxHoles {
			t.Errorf("%d holes: got upto %d, %d holes, %v, want %d, %d", holes, got.Upto, len(got.Holes), err, want, MaxHoles)
		}
	}
}

// TestBaseValues resolves what RFC 8428 allows and this gateway never sends.
func TestBaseValues(t *testing.T) {
	body := ` [ {"bver":5,"bn":"urn:tidegate:gw-1:m/","ep":"e7","bt":1.792e9,"bu":"Cel","bv":20,"t":-0.0000014,"seq":3,"n":"a","v":1.5,"ut":9,` +
		`"x":[{"y":null},true,"\ud83d\ude00",-0.5e-3]},` +
		`{"n":"b","u":"","vs":"\u0041\/\"\b"},{"bn":"urn:tidegate:","n":"gw-1:n/c","t":2.5,"bv":0,"vb":false},` +
		`{"bt":1792000001,"bn":"urn:tidegate:gw-1:","n":"n/d/fault","vs":"x"},{"seq":4,"tq":"relative","n":"n/e","v":-0}` + "\r\n\t]\n"
	p, err := DecodeSenML([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1792000000, 0).UTC()
	zero := tidegate.RawValue(tidegate.KindFloat, 1<<63, "")
	want := &Pack{Gateway: "gw-1", Epoch: "e7", Records: []tidegate.Record{
		{Number: 3, Time: at, Readings: []tidegate.Reading{
			{Device: "m", Channel: "a", Unit: "Cel", Value: tidegate.Float(21.5), Time: at.Add(-time.Microsecond)},
			{Device: "m", Channel: "b", Value: tidegate.Text("A/\"\b")},
			{Device: "n", Channel: "c", Unit: "Cel", Value: tidegate.Bool(false), Time: at.Add(2500 * time.Millisecond)},
			{Device: "n", Channel: "d", Unit: "Cel", Fault: "x", Time: at.Add(time.Second)},
		}},
		{Number: 4, Time: at.Add(time.Second), Quality: tidegate.TimeRelative, Readings: []tidegate.Reading{
			{Device: "n", Channel: "e", Unit: "Cel", Value: zero},
		}},
	}}
	if diff := samePack(p, want); diff != "" {
		t.Fatal(diff)
	}
}

// vectorDir is where other implementers find the payloads.
const vectorDir = "../../testdata/wire"

func writeRefused(t *testing.T, folder string, r refused) {
	t.Helper()
	text, err := json.MarshalIndent(vector{Expect: "refused", Error: r.want}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	writeVector(t, filepath.Join(vectorDir, folder, "bad-"+r.name), []byte(r.body), text)
}

func writeVector(t *testing.T, name string, body, expect []byte) {
	t.Helper()
	for ext, b := range map[string][]byte{".json": body, ".expect.json": append(expect, '\n')} {
		if err := os.WriteFile(name+ext, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
