package profile

import (
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// TestGenericIsTheContract compares the generic profile with what contract and README promise to receivers.
func TestGenericIsTheContract(t *testing.T) {
	p, ok := ByName("generic")
	if !ok || p.Name != "generic" || p.QoS != 1 || p.KeepAlive != 30*time.Second || p.MaxPayload != 261120 || !p.Gzip {
		t.Fatalf("got %+v, %v", p, ok)
	}
	want := Topics{
		Data: "tg/v1/gw-1/up/data", Backfill: "tg/v1/gw-1/up/backfill", Alarm: "tg/v1/gw-1/up/alarm", Audit: "tg/v1/gw-1/up/audit",
		Status: "tg/v1/gw-1/up/status", Reply: "tg/v1/gw-1/up/reply",
		Command: "tg/v1/gw-1/down/command", Receipt: "tg/v1/gw-1/down/receipt",
	}
	if got := p.Topics("gw-1"); got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	body, err := p.Encode([]byte("x"), &wire.Pack{Gateway: "gw-1", Epoch: "e", Records: []tidegate.Record{
		{Number: 9, Time: time.Unix(1792000000, 0), Readings: []tidegate.Reading{{Device: "d", Channel: "c", Value: tidegate.Int(1)}}},
	}})
	if want := `x[{"bn":"urn:tidegate:gw-1:","ep":"e","bt":1792000000,"seq":9,"n":"d/c","v":1}]`; err != nil || string(body) != want {
		t.Errorf("got %s, %v\nwant %s", body, err, want)
	}
}

// TestNamesAreFound looks every name up, the default, and one that does not exist.
func TestNamesAreFound(t *testing.T) {
	names := Names()
	if !slices.Equal(names, []string{"generic"}) {
		t.Fatalf("got %v", names)
	}
	for _, name := range names {
		p, ok := ByName(name)
		if !ok || p.Name != name || p.Doc == "" || p.Topics == nil || p.Encode == nil || p.MaxPayload <= 0 || p.KeepAlive <= 0 {
			t.Errorf("%s: got %+v, %v", name, p, ok)
		}
	}
	if p, ok := ByName(""); !ok || p.Name != names[0] {
		t.Errorf("default: got %q, %v", p.Name, ok)
	}
	for _, name := range []string{"Generic", "aws", " "} {
		if p, ok := ByName(name); ok {
			t.Errorf("%q: got %q", name, p.Name)
		}
	}
}
