package nmea

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/session"
)

// A tpv is what gpsd makes of an epoch.
type tpv struct {
	Time   time.Time
	Mode   int
	Lat    float64
	Lon    float64
	AltMSL *float64
	Speed  *float64
	Track  *float64
}

// A record is what one Read gave, by channel.
type record map[string]tidegate.Reading

func (r record) number(channel string) (float64, bool) {
	v, ok := r[channel]
	if !ok || v.Fault != "" {
		return 0, false
	}
	return v.Value.Number()
}

// replay reads the log of that name, which comes at 9600 Bd, as a receiver of the year 2005 or later would be read.
func replay(t *testing.T, name string) []record {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/gpsd", name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	var out []record
	synctest.Test(t, func(t *testing.T) {
		d := receiver(t, time.Date(2005, 1, 1, 0, 0, 0, 0, time.UTC), func(w *drivertest.Wire) {
			for line := range bytes.Lines(text) {
				if line[0] != '#' {
					w.SayAfter(time.Duration(len(line))*time.Second/960, line)
				}
			}
			w.SayAfter(time.Second, []byte("\r\n"))
			w.HangUp()
		})
		for {
			readings, err := d.Read(t.Context())
			if errors.Is(err, drivers.ErrGone) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := record{}
			for _, x := range readings {
				if x.Channel == chanSentence {
					continue
				}
				if _, ok := r[x.Channel]; ok {
					t.Errorf("two readings of %s in one Read", x.Channel)
				}
				r[x.Channel] = x
			}
			if len(r) > 0 {
				out = append(out, r)
			}
		}
	})
	return out
}

// TestAsGPSD: what this driver makes of receivers' logs is what gpsd makes of them. Where gpsd moves a date on by 1024 weeks, the day is
// allowed to be the one that the receiver said.
func TestAsGPSD(t *testing.T) {
	for name, want := range map[string]struct{ same, noFix int }{
		"bu353-glonass":                {9, 4},
		"beidou-gb":                    {1, 3},
		"gp-320fw-2019-04-07-coldboot": {1, 4},
		"nmea-rtk":                     {61, 0},
		"ublox-zed-f9p-nmea":           {5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			byTime, noFix := map[int64]record{}, 0
			for _, r := range replay(t, name) {
				if _, ok := r.number("lat"); !ok && r["lat"].Fault != "" {
					noFix++
					word, _ := r["fix"].Value.Text()
					if word != "none" || !strings.HasPrefix(r["lat"].Fault, "no fix: ") || !strings.HasPrefix(r["lon"].Fault, "no fix: ") {
						t.Errorf("without a fix: %v", r)
					}
				}
				if at := r["lat"].Time; !at.IsZero() {
					byTime[at.UnixMilli()] = r
				}
			}
			if noFix < want.noFix {
				t.Errorf("%d epochs without a fix, want at least %d", noFix, want.noFix)
			}
			if same := compare(t, name, byTime); same != want.same {
				t.Errorf("%d epochs as gpsd has them, want %d", same, want.same)
			}
		})
	}
}

// compare returns how many of gpsd's epochs are in byTime and the same.
func compare(t *testing.T, name string, byTime map[int64]record) (same int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/gpsd", name+".tpv"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var v tpv
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		r := byTime[v.Time.UnixMilli()]
		if r == nil {
			r = byTime[v.Time.Add(-rollover).UnixMilli()]
		}
		if r == nil {
			t.Errorf("no Read is of %v", v.Time)
			continue
		}
		ok := true
		near := func(channel string, want *float64, by float64) {
			if got, has := r.number(channel); want != nil && has && math.Abs(got-*want) > by {
				t.Errorf("%v: %s is %v, gpsd has %v", v.Time, channel, got, *want)
				ok = false
			}
		}
		near("lat", &v.Lat, 1e-9)
		near("lon", &v.Lon, 1e-9)
		near("altitude", v.AltMSL, 1e-3)
		near("speed", v.Speed, 6e-4)
		near("course", v.Track, 1e-3)
		if _, has := r.number("lat"); has && ok {
			same++
		}
	}
	return same
}

// TestColdBoot has the log of a receiver that is started anew, loses its lines and some sentences, sends zeros in all senses, and comes up in
// 1999, 1024 weeks too early: no position but the true one is ever reported, and no other day.
func TestColdBoot(t *testing.T) {
	positions, days := 0, 0
	for i, r := range replay(t, "gp-320fw-2019-04-07-coldboot") {
		lat, hasLat := r.number("lat")
		lon, hasLon := r.number("lon")
		if hasLat != hasLon || hasLat && (math.Abs(lat-48.14998) > 2e-4 || math.Abs(lon-11.58466) > 2e-4) {
			t.Errorf("Read %d: at %v %v", i, lat, lon)
		}
		if hasLat {
			positions++
		}
		if at := r["fix"].Time; !at.IsZero() {
			if days++; at.Format(time.DateOnly) != "2019-04-07" {
				t.Errorf("Read %d: of %v", i, at)
			}
		}
	}
	if positions < 2 || days < 1 {
		t.Errorf("%d positions, %d with a time", positions, days)
	}
}

// TestSession replays a receiver that loses its fix, epoch by epoch, with one sentence damaged and the cable pulled in the end.
func TestSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := session.File("../../testdata/sessions/nmea/bu353.session")
		if err != nil {
			t.Fatal(err)
		}
		d, err := (&Config{Port: "/dev/ttyUSB0", Baud: 4800, Silence: 10 * time.Second}).Open(t.Context(), r.Host)
		if err != nil {
			t.Fatal(err)
		}
		const (
			noFix = `no fix: GGA says quality "0"; has the aerial a view of the sky? After a cold start it takes minutes`
			late  = " time_fault!the receiver says 2014-05-26, 1024 weeks before a date that can be: its firmware does not know the present count of weeks " +
				"and needs an update; the gateway's own time is used"
		)
		for i, want := range []string{
			"lat=55.686618333333335lat lon=37.62155666666666lon altitude=66.2m speed=0.20063333333333336m/s course=345.22deg satellites=6count hdop=2.56 fix=autonomous" + late,
			"lat=55.68662166666667lat lon=37.62155666666666lon altitude=66.2m speed=0.2057777777777778m/s course=342.94deg satellites=6count hdop=4.54 fix=autonomous" + late,
			every(noFix, "lat", "lon", "altitude", "speed", "course") + " satellites=0count " + every(noFix, "hdop") + " fix=none",
			`sentence_fault!checksum: got 54, want 43: "$GNRMC,081421.000,A,,,,,0.00,357.84,260514,,,N*54"`,
			"error: read receiver: bus /dev/ttyUSB0: gone: unplugged",
		} {
			if got := show(t, d); got != want {
				t.Errorf("Read %d: got\n%s, want\n%s", i+1, got, want)
			}
		}
		if err := errors.Join(d.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	})
}

// gone is a port on which in comes at once, in pieces of n bytes; then it is gone. | is a pause.
type gone struct {
	drivertest.Wire
	in []byte
	n  int
}

func (g *gone) SetReadDeadline(time.Time) error { return nil }

func (g *gone) Read(p []byte) (int, error) {
	if len(g.in) == 0 {
		return 0, drivers.ErrGone
	}
	if g.in[0] == '|' {
		g.in = g.in[1:]
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, g.in[:min(g.n, len(g.in))])
	g.in = g.in[n:]
	return n, nil
}

// FuzzReceiver feeds any bytes to the device: no panic, no endless loop, nothing out of range, and every fault one line.
func FuzzReceiver(f *testing.F) {
	f.Add(byte(1), []byte(sentence(rmc)+"|"+sentence(gga)+sentence(gsa)+"||"))
	f.Add(byte(90), []byte("||"+sentence(rmc)+sentence("GPZDA,123519,29,11,2026,,")+"|"))
	f.Add(byte(40), []byte("|$GP"+sentence("GNGNS,123519.5,4807.038,N,01131.000,E,ANR,14,0.7,-3.25,46.9,,")+"|"))
	f.Add(byte(200), []byte(`|\c:1*0C\`+sentence("GPVTG,054.7,T,034.4,M,005.5,N,010.2,K")+"!AIVDM,1,1,,A,x,0*00\r\n|"+sentence("GPGLL,,,,,,V,N")))
	f.Fuzz(func(t *testing.T, n byte, in []byte) {
		c := &Config{Port: "p", Baud: 9600, Silence: time.Hour}
		port := &gone{in: in, n: 1 + int(n)}
		d, err := c.Open(t.Context(), &drivertest.Host{Ports: map[string]drivertest.Opener{
			"p": func(context.Context) (drivers.Port, error) { return port, nil },
		}})
		if err != nil {
			t.Fatal(err)
		}
		most := map[string][2]float64{
			"lat": {-90, 90}, "lon": {-180, 180}, "altitude": {-1000, 100_000}, "speed": {0, 2000 * knot}, "course": {0, 360}, "satellites": {0, 99}, "hdop": {0, 99},
		}
		for range len(in) + 2 {
			readings, err := d.Read(t.Context())
			if errors.Is(err, drivers.ErrGone) {
				return
			}
			if err != nil || len(readings) == 0 {
				t.Fatalf("%d readings, %v", len(readings), err)
			}
			for _, r := range readings {
				if strings.ContainsAny(r.Fault, "\r\n") || len(r.Fault) > 800 {
					t.Fatalf("%+v", r)
				}
				if r.Fault != "" {
					continue
				}
				if v, ok := r.Value.Number(); ok && !(v >= most[r.Channel][0] && v <= most[r.Channel][1]) || !ok && r.Channel != "fix" {
					t.Fatalf("%+v", r)
				}
				if !r.Time.IsZero() && (r.Time.Before(earliest) || !r.Time.Before(earliest.Add(rollover))) {
					t.Fatalf("%+v", r)
				}
			}
		}
		t.Fatal("no end")
	})
}
