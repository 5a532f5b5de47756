package wire

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tidegate-io/tidegate"
)

// seed adds all payloads of a folder under testdata/wire.
func seed(f *testing.F, folder string) {
	names, err := filepath.Glob(filepath.Join(vectorDir, folder, "*.json"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
}

// FuzzDecodeSenML decodes any bytes, and wants a pack that was taken to come back from what is sent of it.
func FuzzDecodeSenML(f *testing.F) {
	seed(f, "senml")
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := DecodeSenML(body)
		if err != nil {
			if p != nil {
				t.Fatalf("got a pack beside %v", err)
			}
			return
		}
		again, err := AppendSenML(nil, p)
		if err != nil {
			t.Fatalf("send what was taken: %v", err)
		}
		got, err := DecodeSenML(again)
		if err != nil {
			t.Fatalf("%v: %s", err, again)
		}
		if diff := samePack(got, p); diff != "" {
			t.Fatalf("%s\n%s", diff, again)
		}
	})
}

// FuzzParseReceipt reads any bytes as a receipt.
func FuzzParseReceipt(f *testing.F) {
	seed(f, "receipt")
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseReceipt(body)
		if err != nil {
			return
		}
		again := AppendReceipt(nil, r)
		if got, err := ParseReceipt(again); err != nil || string(AppendReceipt(nil, got)) != string(again) {
			t.Fatalf("got %+v, %v from %s", got, err, again)
		}
	})
}

// FuzzParseGap reads any text as a gap.
func FuzzParseGap(f *testing.F) {
	f.Add(`{"from":1,"to":6,"count":0,"at_most":40,"cause":"power_cut","t0":0,"t1":0}`)
	f.Add(`{"from":1,"to":6,"count":0,"at_most":40,"cause":"power_cut","t0":-1,"t1":9223372036854775807,"ep":"e7"}`)
	f.Fuzz(func(t *testing.T, text string) {
		g, ok, err := ParseGap(tidegate.Reading{Device: "_gateway", Channel: "gap", Value: tidegate.Text(text)})
		if ok == (err != nil) {
			t.Fatalf("got %v, %v", ok, err)
		}
		if err != nil {
			return
		}
		if again, _, err := ParseGap(GapReading(g)); err != nil || again != g {
			t.Fatalf("got %+v, %v, want %+v", again, err, g)
		}
	})
}
