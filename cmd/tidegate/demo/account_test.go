package demo

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/receive"
)

// stored writes NDJSON files as the receiver does and counts them.
func stored(t *testing.T, files ...string) map[string]*seen {
	t.Helper()
	dir := t.TempDir()
	for i, text := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("readings-%06d.ndjson", i+1)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := countReceived(dir)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// record is the lines of one record of a meter with running number n, cut after the first `channels` readings.
func record(seq int, meter string, n, readings int) string {
	s := ""
	for i, c := range []string{"n", "temp", "pressure", "power"} {
		if i < readings {
			v := n
			if i > 0 {
				v = 7
			}
			s += fmt.Sprintf(`{"ep":"e","seq":%d,"device":%q,"channel":%q,"v":%d}`+"\n", seq, meter, c, v)
		}
	}
	return s
}

func TestAccount(t *testing.T) {
	other := `{"ep":"e","seq":90,"device":"machine","channel":"load1","v":3}` + "\n" +
		`{"ep":"e","seq":91,"device":"_gateway","channel":"x","vs":"text"}` + "\n"
	tests := map[string]struct {
		answered [units + 1]uint32
		ends     [units + 1][]uint32
		received []string
		buffered map[string]*seen
		gaps     []receive.Gap
		want     account
		bad      string
	}{
		"all delivered": {
			answered: [units + 1]uint32{0, 2, 0, 1},
			received: []string{record(1, "boiler", 1, 4) + other + record(2, "meter3", 1, 4), record(3, "boiler", 2, 4)},
			want:     account{Answered: 12, Produced: 12, Delivered: 12},
		},
		"last reply before a kill was in flight": {
			answered: [units + 1]uint32{0, 3}, ends: [units + 1][]uint32{1: {2, 3}},
			received: []string{record(1, "boiler", 1, 4) + record(2, "boiler", 2, 4)},
			want:     account{Answered: 12, Produced: 8, Delivered: 8, InFlight: 4},
		},
		"earlier reply missing is lost": {
			answered: [units + 1]uint32{0, 3}, ends: [units + 1][]uint32{1: {3}},
			received: []string{record(1, "boiler", 1, 4) + record(3, "boiler", 3, 4)},
			want:     account{Answered: 12, Produced: 12, Delivered: 8, Lost: 4},
			bad:      "the demo's account is not as it must be: 4 readings lost, 0 doubled; want 0 and 0. This is a defect: please report it",
		},
		"part of a record missing is lost": {
			answered: [units + 1]uint32{0, 1},
			received: []string{record(1, "boiler", 1, 3)},
			want:     account{Answered: 4, Produced: 4, Delivered: 3, Lost: 1},
			bad:      "the demo's account is not as it must be: 1 readings lost, 0 doubled; want 0 and 0. This is a defect: please report it",
		},
		"stored twice is doubled": {
			answered: [units + 1]uint32{0, 1},
			received: []string{record(1, "boiler", 1, 4), record(2, "boiler", 1, 4)},
			want:     account{Answered: 4, Produced: 4, Delivered: 4, Doubled: 4},
			bad:      "the demo's account is not as it must be: 0 readings lost, 4 doubled; want 0 and 0. This is a defect: please report it",
		},
		"buffered and delivered is delivered": {
			answered: [units + 1]uint32{0, 2},
			received: []string{record(1, "boiler", 1, 4)},
			buffered: map[string]*seen{"boiler": {records: map[uint32]int{1: 1, 2: 1}}},
			want:     account{Answered: 8, Produced: 8, Delivered: 4, Buffered: 4},
		},
		"declared is not lost": {
			answered: [units + 1]uint32{0, 4},
			received: []string{record(1, "boiler", 1, 4) + record(4, "boiler", 4, 4)},
			gaps:     []receive.Gap{{Gap: tidegate.Gap{Cause: tidegate.CauseOverflow, Count: 8}, LateReadings: 4}, {Gap: tidegate.Gap{Cause: tidegate.CauseRejected, Count: 4}}},
			want:     account{Answered: 16, Produced: 16, Delivered: 8, Rejected: 4, DroppedDeclared: 4, Duplicates: 5},
		},
		"nothing delivered": {
			bad: "the demo's account is not as it must be: nothing was delivered; let it run for some seconds",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var far receive.Account
			if tt.gaps != nil {
				far.Gateways = []receive.GatewayAccount{{Epochs: []receive.EpochAccount{{Gaps: tt.gaps, Duplicates: 5}}}}
			}
			b := &bus{answered: tt.answered, ends: tt.ends}
			got := settle(b, stored(t, tt.received...), tt.buffered, &far)
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if got.Answered != got.Produced+got.InFlight {
				t.Errorf("answered %d is not produced %d + in_flight %d", got.Answered, got.Produced, got.InFlight)
			}
			if sum := int64(got.Delivered+got.Buffered+got.Rejected+got.DroppedDeclared) + got.Lost; int64(got.Produced) != sum {
				t.Errorf("produced %d is not delivered + buffered + rejected + dropped_declared + lost = %d", got.Produced, sum)
			}
			err := got.judge()
			if tt.bad == "" && err != nil || tt.bad != "" && (!errors.Is(err, ErrAccount) || err.Error() != tt.bad) {
				t.Errorf("judged %v, want %q", err, tt.bad)
			}
		})
	}
}

func TestDamagedFileOfReceiver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "readings-000001.ndjson")
	if err := os.WriteFile(path, []byte(`{"ep":`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := countReceived(dir)
	if got, want := fmt.Sprint(err), "count "+path+": unexpected end of JSON input"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPrint(t *testing.T) {
	a := account{
		Answered: 120, Produced: 116, Delivered: 100, Duplicates: 3, Buffered: 16, InFlight: 4, Seconds: 20.4, ReadingsPerS: 5.5,
		WireBytes: 1000, DiskBytes: 4096, Kills: 1, BrokerStops: 2,
	}
	for name, tt := range map[string]struct {
		asJSON bool
		want   string
	}{
		"text": {false, `
The bus answered 120 readings in 20 s; 4 of them were in flight when the gateway was stopped or killed (1 kills).
produced 116 = delivered 100 + buffered 16 + rejected 0 + declared 0 + lost 0
3 records came twice and were dropped by the receiver; 0 readings are stored twice.
1000 bytes on the wire, 4096 bytes to the disk; the broker was stopped 2 times.
`},
		"JSON": {true, `{"answered":120,"produced":116,"delivered":100,"duplicates":3,"buffered":16,"rejected":0,"dropped_declared":0,"in_flight":4,` +
			`"doubled":0,"lost":0,"seconds":20.4,"readings_per_s":5.5,"wire_bytes":1000,"disk_bytes":4096,"kills":1,"broker_stops":2}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := a.print(&b, tt.asJSON); err != nil {
				t.Fatal(err)
			}
			if b.String() != tt.want {
				t.Errorf("got  %s\nwant %s", &b, tt.want)
			}
		})
	}
}
