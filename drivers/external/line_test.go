package external

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
)

func lineChannels() map[string]*Channel {
	return map[string]*Channel{
		"n": {Name: "n", Type: typeInteger}, "temp": {Name: "temp", Type: typeNumber, Unit: "Cel"},
		"on": {Name: "on", Type: typeBool}, "text": {Name: "text", Type: typeText},
	}
}

// showLine returns l as text.
func showLine(l line) string {
	switch {
	case l.bad != "":
		return "bad: " + l.bad
	case l.done != 0:
		return fmt.Sprint("done ", l.done)
	case l.refusal != "":
		return fmt.Sprintf("nack %d %s", l.ack, l.refusal)
	case l.ack != 0:
		return fmt.Sprint("ack ", l.ack)
	case !l.reading.Time.IsZero():
		return show([]tidegate.Reading{l.reading}, nil) + " at " + l.reading.Time.UTC().Format("2006-01-02T15:04:05.999Z")
	}
	return show([]tidegate.Reading{l.reading}, nil)
}

func TestLines(t *testing.T) {
	long := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
	for in, want := range map[string]string{
		// good ones
		`{"channel":"temp","value":21.5}`:                                 "temp=21.5Cel",
		`{"value":-3e2,"unit":"Cel","channel":"temp"}`:                    "temp=-300Cel",
		` { "channel" : "n" , "value" : 9223372036854775807 } `:           "n=9223372036854775807",
		`{"channel":"n","value":-9223372036854775808,"fault":null}`:       "n=-9223372036854775808",
		`{"channel":"on","value":true,"fault":""}`:                        "on=true",
		`{"channel":"text","value":"Ö 1"}`:                                "text=Ö 1",
		`{"channel":"text","value":""}`:                                   "text=",
		`{"channel":"text","value":"\ud83d\ude00"}`:                       "text=\U0001F600",
		`{"channel":"temp","fault":"probe broken"}`:                       "temp: probe broken",
		`{"channel":"temp","value":null,"fault":"probe broken"}`:          "temp: probe broken",
		`{"channel":"n","value":1,"time":"2026-11-02T11:00:00.25+01:00"}`: "n=1 at 2026-11-02T10:00:00.25Z",
		`{"done":7}`:                      "done 7",
		`{"ack":8}`:                       "ack 8",
		`{"nack":8,"error":"fuse blown"}`: "nack 8 fuse blown",
		`{"nack":8}`:                      "nack 8 it does not say why",
		// values that do not fit their channel are its fault
		`{"channel":"temp","value":1e999}`:            "temp: beyond the range of a number: \"1e999\"",
		`{"channel":"temp","value":"21.5"}`:           `temp: the program says the text "21.5", declared is number`,
		`{"channel":"temp","value":true}`:             "temp: the program says true, declared is number",
		`{"channel":"temp","value":21.5,"unit":"K"}`:  `temp: the program says unit "K", declared is "Cel"`,
		`{"channel":"n","value":1,"unit":"count"}`:    `n: the program says unit "count", declared is ""`,
		`{"channel":"n","value":1.0}`:                 `n: not an integer of 64 bits: "1.0"`,
		`{"channel":"n","value":9223372036854775808}`: `n: not an integer of 64 bits: "9223372036854775808"`,
		`{"channel":"on","value":1}`:                  `on: the program says the number "1", declared is bool`,
		`{"channel":"text","value":1}`:                `text: the program says the number "1", declared is text`,
		// lines that are refused
		``:                               `bad: is no JSON: ""`,
		`rubbish`:                        `bad: is no JSON: "rubbish"`,
		`{"channel":"temp","value":21.5`: `bad: is no JSON: "{\"channel\":\"temp\",\"value\":21.5"`,
		`{"channel":"temp","value":21.5}{"channel":"n","value":1}`: `bad: is no JSON: "{\"channel\":\"temp\",\"value\":21.5}{\"channel\":\"n\",\"value\":1}"`,
		`{"channel":"temp","value":NaN}`:                           `bad: is no JSON: "{\"channel\":\"temp\",\"value\":NaN}"`,
		`{"channel":"temp","value":-Infinity}`:                     `bad: is no JSON: "{\"channel\":\"temp\",\"value\":-Infinity}"`,
		`{"channel":"temp","value":0x10}`:                          `bad: is no JSON: "{\"channel\":\"temp\",\"value\":0x10}"`,
		`{"channel":"temp","value":１２}`:                            `bad: is no JSON: "{\"channel\":\"temp\",\"value\":\uff11\uff12}"`,
		`{"channel":"temp","value":+1}`:                            `bad: is no JSON: "{\"channel\":\"temp\",\"value\":+1}"`,
		`{"channel":"temp","value":01}`:                            `bad: is no JSON: "{\"channel\":\"temp\",\"value\":01}"`,
		`{"channel":"temp","value":1,}`:                            `bad: is no JSON: "{\"channel\":\"temp\",\"value\":1,}"`,
		`{'channel':'temp','value':1}`:                             `bad: is no JSON: "{'channel':'temp','value':1}"`,
		"{\"channel\":\"text\",\"value\":\"\xff\"}":                `bad: is not UTF-8: "{\"channel\":\"text\",\"value\":\"\xff\"}"`,
		`[{"channel":"temp","value":1}]`:                           `bad: is no JSON object: "[{\"channel\":\"temp\",\"value\":1}]"`,
		`21.5`:                                                     `bad: is no JSON object: "21.5"`,
		`null`:                                                     `bad: is no JSON object: "null"`,
		`{}`:                                                       `bad: has none of the keys "channel", "done", "ack" and "nack": "{}"`,
		`{"channel":"temp","channel":"n","value":1}`:               `bad: has the key "channel" twice: "{\"channel\":\"temp\",\"channel\":\"n\",\"value\":1}"`,
		`{"channel":"temp","value":1,"\u0076alue":2}`:              `bad: has the key "value" twice: "{\"channel\":\"temp\",\"value\":1,\"\\u0076alue\":2}"`,
		`{"channel":"temp","Value":1}`:                             `bad: has neither a value nor a fault: "{\"channel\":\"temp\",\"Value\":1}"`,
		`{"channel":"temp","value":1,"Unit":"K"}`:                  `bad: has the key "Unit", which has no business there: "{\"channel\":\"temp\",\"value\":1,\"Unit\":\"K\"}"`,
		`{"channel":"temp","value":1,"done":7}`:                    `bad: has the key "done", which has no business there: "{\"channel\":\"temp\",\"value\":1,\"done\":7}"`,
		`{"channel":"temp"}`:                                       `bad: has neither a value nor a fault: "{\"channel\":\"temp\"}"`,
		`{"channel":"temp","value":1,"fault":"x"}`:                 `bad: has both a value and a fault: "{\"channel\":\"temp\",\"value\":1,\"fault\":\"x\"}"`,
		`{"channel":"temp","value":[1]}`:                           `bad: has a list or an object as "value": "{\"channel\":\"temp\",\"value\":[1]}"`,
		`{"channel":"temp","value":{"a":1}}`:                       `bad: has a list or an object as "value": "{\"channel\":\"temp\",\"value\":{\"a\":1}}"`,
		`{"channel":"temp","value":` + long + `}`:                  `bad: has a list or an object as "value": "{\"channel\":\"temp\",\"value\":` + strings.Repeat("[", 38) + `" and 3963 bytes more`,
		`{"channel":"pressure","value":1}`:                         `bad: is of the channel "pressure", which is not declared: "{\"channel\":\"pressure\",\"value\":1}"`,
		`{"channel":7,"value":1}`:                                  `bad: has no text as "channel": "{\"channel\":7,\"value\":1}"`,
		`{"channel":null,"value":1}`:                               `bad: is of the channel "", which is not declared: "{\"channel\":null,\"value\":1}"`,
		`{"channel":"temp","fault":7}`:                             `bad: has no text as "fault": "{\"channel\":\"temp\",\"fault\":7}"`,
		`{"channel":"text","value":"a\nb"}`:                        `bad: has a control character, or one that is none, in "value": "{\"channel\":\"text\",\"value\":\"a\\nb\"}"`,
		`{"channel":"text","value":"\u0000"}`:                      `bad: has a control character, or one that is none, in "value": "{\"channel\":\"text\",\"value\":\"\\u0000\"}"`,
		`{"channel":"text","value":"\ud800"}`:                      `bad: has a control character, or one that is none, in "value": "{\"channel\":\"text\",\"value\":\"\\ud800\"}"`,
		`{"channel":"temp","value":1,"time":1760000000}`:           `bad: has no text as "time": "{\"channel\":\"temp\",\"value\":1,\"time\":1760000000}"`,
		`{"channel":"n","value":1,"time":"1970-01-01T00:00:00Z"}`:  `bad: has the time "1970-01-01T00:00:00Z", want one of 2000 to 2099 as in 2026-11-02T10:00:00Z: "{\"channel\":\"n\",\"value\":1,\"time\":\"1970-01-01T00:00:00Z\"}"`,
		`{"channel":"n","value":1,"time":"2026-11-02 10:00"}`:      `bad: has the time "2026-11-02 10:00", want one of 2000 to 2099 as in 2026-11-02T10:00:00Z: "{\"channel\":\"n\",\"value\":1,\"time\":\"2026-11-02 10:00\"}"`,
		`{"done":0}`:            `bad: has no number from 1 as "done": "{\"done\":0}"`,
		`{"done":true}`:         `bad: has no number from 1 as "done": "{\"done\":true}"`,
		`{"ack":-1}`:            `bad: has no number from 1 as "ack": "{\"ack\":-1}"`,
		`{"ack":1.5}`:           `bad: has no number from 1 as "ack": "{\"ack\":1.5}"`,
		`{"ack":8,"error":"x"}`: `bad: has the key "error", which has no business there: "{\"ack\":8,\"error\":\"x\"}"`,
		`{"nack":8,"error":8}`:  `bad: has no text as "error": "{\"nack\":8,\"error\":8}"`,
	} {
		if got := showLine(parse([]byte(in), lineChannels())); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", in, got, want)
		}
	}
}

// TestSplitKeepsLinesApart: however the bytes come in pieces, and whatever stands in one line, the lines are those that were written.
func TestSplitKeepsLinesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text, want []string
		for range rapid.IntRange(1, 12).Draw(t, "lines") {
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				n := rapid.Int64().Draw(t, "n")
				text, want = append(text, fmt.Sprintf("{\"channel\":\"n\",\"value\":%d}", n)), append(want, fmt.Sprint("n=", n))
			case 1:
				text = append(text, rapid.SampledFrom([]string{"", " ", "\r", "\t\t"}).Draw(t, "blank"))
			case 2:
				n := rapid.IntRange(maxLine, 3*maxLine).Draw(t, "length")
				text, want = append(text, strings.Repeat("7", n)), append(want, "bad: is longer than 4096 bytes: "+excerpt([]byte(strings.Repeat("7", maxLine))))
			case 3:
				text, want = append(text, strings.Repeat("7", maxLine-1)), append(want, "bad: is no JSON object: "+excerpt([]byte(strings.Repeat("7", maxLine-1))))
			case 4:
				text, want = append(text, "\xff"), append(want, `bad: is not UTF-8: "\xff"`)
			}
		}
		d := newDevice(&Config{Command: []string{"/x"}, Lines: 10_000}, nil, "/")
		d.channels = lineChannels()
		p := &process{device: d, lines: make(chan line, 100), credit: math.Inf(1)}
		for b := []byte(strings.Join(text, "\n") + "\n"); len(b) > 0; {
			n := rapid.IntRange(1, len(b)).Draw(t, "piece")
			if !p.split(b[:n]) {
				t.Fatal("split does not go on")
			}
			b = b[n:]
		}
		close(p.lines)
		var got []string
		for l := range p.lines {
			got = append(got, showLine(l))
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Fatalf("got\n%s\nwant\n%s", g, w)
		}
	})
}

// FuzzLine: whatever the bytes, a line is one thing, its texts are one line each, and a value is finite, of its channel's kind and unit.
func FuzzLine(f *testing.F) {
	for _, s := range []string{
		`{"channel":"temp","value":21.5,"unit":"Cel"}`, `{"channel":"n","value":-1}`, `{"channel":"on","value":true}`,
		`{"channel":"text","value":"x","time":"2026-11-02T10:00:00Z"}`, `{"channel":"temp","fault":"broken"}`, `{"done":1}`, `{"ack":1}`,
		`{"nack":1,"error":"no"}`, `{"channel":"temp","value":1e999}`, `{"channel":"temp","channel":"n","value":[[1]]}`, "\xff", `{"a":"\ud800"}`,
	} {
		f.Add([]byte(s))
	}
	channels := lineChannels()
	f.Fuzz(func(t *testing.T, b []byte) {
		l := parse(b, channels)
		kinds := 0
		for _, is := range []bool{l.bad != "", l.done != 0, l.ack != 0, l.reading.Channel != ""} {
			if is {
				kinds++
			}
		}
		if kinds != 1 || l.refusal != "" && l.ack == 0 {
			t.Fatalf("%q is %+v", b, l)
		}
		for _, s := range []string{l.bad, l.refusal, l.reading.Fault} {
			if strings.ContainsAny(s, "\r\n") || !utf8.ValidString(s) {
				t.Fatalf("%q says %q", b, s)
			}
		}
		r := l.reading
		if r.Channel == "" || r.Fault != "" {
			if r.Value.Kind() != tidegate.KindNone {
				t.Fatalf("%q has a value that cannot be trusted: %+v", b, r)
			}
			return
		}
		ch := channels[r.Channel]
		if f, isNumber := r.Value.Number(); r.Value.Kind() != ch.kind() || r.Unit != ch.Unit || isNumber && (math.IsNaN(f) || math.IsInf(f, 0)) {
			t.Fatalf("%q gives %+v", b, r)
		}
	})
}

func TestTail(t *testing.T) {
	for want, texts := range map[string][]string{
		``:                                   {"", " \n\n"},
		`"last"`:                             {"first\n", "la", "st\n\n"},
		`"` + strings.Repeat("x", 200) + `"`: {strings.Repeat("x", 5000)},
		`"ValueError: \xff\x1b[0m"`:          {"Traceback\nValueError: \xff\x1b[0m\n"},
	} {
		var got tail
		for _, s := range texts {
			got.add([]byte(s))
		}
		if got.String() != want || len(got.b) > tailMost {
			t.Errorf("%.40q: got %s (%d bytes kept), want %s", texts, got.String(), len(got.b), want)
		}
	}
}
