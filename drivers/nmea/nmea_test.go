package nmea

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gonmea "github.com/adrianmo/go-nmea"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

// sentence returns a line with its checksum.
func sentence(body string) string { return "$" + body + "*" + gonmea.Checksum(body) + "\r\n" }

// Sentences of one instant, 2026-11-28 12:35:19 UTC, with a fix.
const (
	rmc = "GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,281126,003.1,W"
	gga = "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"
	gsa = "GPGSA,A,3,04,05,,09,12,,,24,,,,,2.5,1.3,2.1"
)

// The readings of these.
const (
	atRMC    = "2026-11-28T12:35:19Z: "
	position = "lat=48.1173lat lon=11.516666666666667lon"
	motion   = "speed=11.523555555555555m/s course=84.4deg"
	ofGGA    = "satellites=8count hdop=0.9"
)

// receiver opens the driver's device on a port at whose far end say speaks, after 2 s of silence.
func receiver(t *testing.T, first time.Time, say func(w *drivertest.Wire), set ...func(c *Config)) drivers.Device {
	t.Helper()
	c := Driver.New().(*Config)
	c.Port = "/dev/ttyACM0"
	for _, f := range set {
		f(c)
	}
	d, err := c.open(t.Context(), &drivertest.Host{Ports: map[string]drivertest.Opener{
		"/dev/ttyACM0": func(context.Context) (drivers.Port, error) {
			w := &drivertest.Wire{}
			w.SayAfter(2*time.Second, []byte("\r\n"))
			say(w)
			return w, nil
		},
	}}, first)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// show returns one Read as text, with the time that its readings bear; "" = they bear none.
func show(t *testing.T, d drivers.Device) string {
	t.Helper()
	readings, err := d.Read(t.Context())
	if err != nil {
		return "error: " + err.Error()
	}
	out := make([]string, 0, len(readings))
	for _, r := range readings {
		s := fmt.Sprintf("%s=%v%s", r.Channel, r.Value, r.Unit)
		if r.Fault != "" {
			s = r.Channel + "!" + r.Fault
		}
		if !r.Time.Equal(readings[0].Time) && r.Channel != chanSentence {
			t.Errorf("%s has time %v, %s %v", r.Channel, r.Time, readings[0].Channel, readings[0].Time)
		}
		out = append(out, s)
	}
	text := strings.Join(out, " ")
	if at := readings[0].Time; !at.IsZero() {
		text = at.Format(time.RFC3339Nano) + ": " + text
	}
	return text
}

// every returns what a fault of these channels reads like.
func every(fault string, channels ...string) string {
	var out []string
	for _, c := range channels {
		out = append(out, c+"!"+fault)
	}
	return strings.Join(out, " ")
}

// edit returns s with old replaced, which must be in it.
func edit(t *testing.T, s, old, by string) string {
	t.Helper()
	if strings.Count(s, old) != 1 {
		t.Fatalf("%q is in %q %d times", old, s, strings.Count(s, old))
	}
	return strings.Replace(s, old, by, 1)
}

// TestEpoch has what sentences become, one Read each, told apart by the pause behind them.
func TestEpoch(t *testing.T) {
	const (
		noFix = "no fix: RMC says status V; has the aerial a view of the sky? After a cold start it takes minutes"
		sky   = "; has the aerial a view of the sky? After a cold start it takes minutes"
		all   = atRMC + position + " altitude=545.4m " + motion + " " + ofGGA + " fix=autonomous"
	)
	for name, tc := range map[string]struct {
		in   []string
		want string
	}{
		"all":                            {[]string{rmc, gga, gsa}, all},
		"in another order":               {[]string{gsa, gga, rmc}, all},
		"twice the same":                 {[]string{rmc, rmc, gga, gga, gsa, gsa}, all},
		"of mixed systems":               {[]string{"GN" + rmc[2:], "GL" + gga[2:], "GA" + gsa[2:]}, all},
		"RMC alone":                      {[]string{rmc}, atRMC + position + " " + motion + " fix=valid"},
		"RMC with mode":                  {[]string{rmc + ",D"}, atRMC + position + " " + motion + " fix=differential"},
		"GGA alone has no date":          {[]string{gga}, position + " altitude=545.4m " + ofGGA + " fix=autonomous"},
		"ZDA has the date":               {[]string{gga, "GPZDA,123519.00,28,11,2026,00,00"}, atRMC + position + " altitude=545.4m " + ofGGA + " fix=autonomous"},
		"a date that no fix vouches for": {[]string{"GPZDA,123519,28,11,2026,,", gsa}, "hdop=1.3"},
		"GLL":                            {[]string{"GPGLL,4807.038,S,01131.000,W,123519,A,A"}, "lat=-48.1173lat lon=-11.516666666666667lon fix=autonomous"},
		"VTG":                            {[]string{"GPVTG,054.7,T,034.4,M,005.5,N,010.2,K"}, "speed=2.8294444444444444m/s course=54.7deg"},
		"GNS":                            {[]string{"GNGNS,123519.5,4807.038,N,01131.000,E,ANR,14,0.7,-3.25,46.9,,"}, position + " altitude=-3.25m satellites=14count hdop=0.7 fix=rtk"},
		"GNS counts more":                {[]string{gga, "GNGNS,123519,4807.038,N,01131.000,E,AA,14,0.7,545.5,46.9,,"}, position + " altitude=545.5m satellites=14count hdop=0.7 fix=autonomous"},
		"GNS for one system":             {[]string{gga, "GPGNS,123519,,,,,,,,,,1.0,23"}, position + " altitude=545.4m " + ofGGA + " fix=autonomous"},
		"tag block before":               {[]string{`\g:1-2-73,c:1120959341*0C\` + rmc}, atRMC + position + " " + motion + " fix=valid"},
		"no course":                      {[]string{edit(t, rmc, "084.4", "")}, atRMC + position + " speed=11.523555555555555m/s fix=valid"},
		"no fix by RMC":                  {[]string{edit(t, rmc, "A", "V"), gga}, every(noFix, "lat", "lon", "altitude", "speed", "course") + " satellites=8count " + every(noFix, "hdop") + " fix=none"},
		"no fix by GGA":                  {[]string{rmc, edit(t, gga, "E,1", "E,0")}, every(`no fix: GGA says quality "0"`+sky, "lat", "lon", "altitude", "speed", "course") + " satellites=8count " + every(`no fix: GGA says quality "0"`+sky, "hdop") + " fix=none"},
		"no fix by GNS":                  {[]string{"GNGNS,123519,,,,,NN,00,,,,,"}, every(`no fix: GNS says modes "NN"`+sky, "lat", "lon", "altitude") + " satellites=0count " + every(`no fix: GNS says modes "NN"`+sky, "hdop") + " fix=none"},
		"nothing after power-up":         {[]string{"GPRMC,,V,,,,,,,,,,N"}, every(`no fix: RMC says mode "N"`+sky, "lat", "lon", "speed") + " fix=none"},
		"zeros without a fix":            {[]string{"GPRMC,000000,V,0000.000,N,00000.000,E,0.0,0.0,060180,,"}, every(noFix, "lat", "lon", "speed", "course") + " fix=none"},
		"2D":                             {[]string{gga, edit(t, gsa, "A,3", "A,2")}, position + " altitude!the fix is 2D by GSA: the altitude is held, not measured " + ofGGA + " fix=autonomous"},
		"3D of one system":               {[]string{gga, edit(t, gsa, "A,3", "A,2"), gsa}, position + " altitude=545.4m " + ofGGA + " fix=autonomous"},
		"estimated":                      {[]string{edit(t, rmc, "A", "V") + ",E"}, every(`the position is estimated, not measured: RMC says mode "E"`, "lat", "lon", "speed", "course") + " fix=estimated"},
		"simulated":                      {[]string{edit(t, gga, "E,1", "E,8")}, every(`the position is simulated, not measured: GGA says quality "8"`, "lat", "lon", "altitude") + " satellites=8count " + every(`the position is simulated, not measured: GGA says quality "8"`, "hdop") + " fix=simulated"},
		"mode that nobody knows":         {[]string{rmc + ",X"}, every(`RMC says mode "X", which is not known: the position cannot be trusted`, "lat", "lon", "speed", "course") + ` fix!RMC says mode "X", which is not known`},
		"date before a rollover":         {[]string{edit(t, rmc, "281126", "140407")}, position + " " + motion + " fix=valid time_fault!the receiver says 2007-04-14, 1024 weeks before a date that can be: its firmware does not know the present count of weeks and needs an update; the gateway's own time is used"},
		"date in the far future":         {[]string{edit(t, rmc, "281126", "281170")}, position + " " + motion + " fix=valid time_fault!the receiver says 2070-11-28, want 2026-01-01 to 2045-08-17; the gateway's own time is used"},
		"date of 1980":                   {[]string{edit(t, rmc, "281126", "060180")}, position + " " + motion + " fix=valid time_fault!the receiver says 1980-01-06, want 2026-01-01 to 2045-08-17; the gateway's own time is used"},
		"day that there is not":          {[]string{edit(t, rmc, "281126", "300226")}, position + " " + motion + ` fix=valid time_fault!RMC has "300226" for a date; the gateway's own time is used`},
		"two dates":                      {[]string{rmc, "GPZDA,123519,29,11,2026,,"}, position + " " + motion + " fix=valid time_fault!RMC and ZDA have different dates: 2026-11-28 and 2026-11-29; the gateway's own time is used"},
		"leap second":                    {[]string{edit(t, rmc, "123519", "235960.00")}, "2026-11-29T00:00:00Z: " + position + " " + motion + " fix=valid"},
		"fraction of a second":           {[]string{edit(t, rmc, "123519", "123519.250")}, "2026-11-28T12:35:19.25Z: " + position + " " + motion + " fix=valid"},
		"time that cannot be":            {[]string{edit(t, rmc, "123519", "246199")}, `sentence_fault!no_match: RMC has "246199" for a time: "$GPRMC,246199,A,4807.038,N,01131.000,E,022.4,084.4,281126,003.1," and 4 bytes more`},
		"altitude in feet":               {[]string{edit(t, gga, "545.4,M", "545.4,F")}, position + ` altitude!altitude is in "F", want M for metres ` + ofGGA + " fix=autonomous"},
		"fields empty with a fix":        {[]string{"GPGGA,123519,,,,,1,,,,M,,M,,"}, "lat!the receiver gives no latitude lon!the receiver gives no longitude altitude!the receiver gives no altitude satellites!the receiver gives no number of satellites hdop!the receiver gives no hdop fix=autonomous"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := receiver(t, earliest, func(w *drivertest.Wire) {
					for _, s := range tc.in {
						if i := strings.LastIndexByte(s, '\\'); i >= 0 {
							w.Say([]byte(s[:i+1] + sentence(s[i+1:])))
							continue
						}
						w.Say([]byte(sentence(s)))
					}
				})
				start := time.Now()
				got := show(t, d)
				if got != tc.want {
					t.Errorf("got\n%s, want\n%s", got, tc.want)
				}
				if took := time.Since(start); took != 2*time.Second+rest && !strings.HasPrefix(got, chanSentence) {
					t.Errorf("took %v, want %v", took, 2*time.Second+rest)
				}
			})
		})
	}
}

// TestEpochEnds with the first sentence of another time, where no pause does.
func TestEpochEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := receiver(t, earliest, func(w *drivertest.Wire) {
			for i := range 3 {
				w.Say([]byte(sentence(edit(t, rmc, "123519", fmt.Sprintf("12351%d", i)))))
				w.SayAfter(100*time.Millisecond, []byte(sentence(edit(t, gga, "123519", fmt.Sprintf("12351%d.000", i)))))
				w.SayAfter(100*time.Millisecond, []byte(sentence("GPGSV,1,1,01,05,40,083,46")))
			}
		})
		for i := range 3 {
			want := fmt.Sprintf("2026-11-28T12:35:1%dZ: %s altitude=545.4m %s %s fix=autonomous", i, position, motion, ofGGA)
			if got := show(t, d); got != want {
				t.Errorf("epoch %d: got %s, want %s", i, got, want)
			}
		}
	})
}

// TestEpochAfterAPause: a device server that holds up half of an epoch makes two Reads of it, both with its time.
func TestEpochAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := receiver(t, earliest, func(w *drivertest.Wire) {
			w.Say([]byte(sentence(rmc)))
			w.SayAfter(300*time.Millisecond, []byte(sentence(gga)))
		})
		for i, want := range []string{atRMC + position + " " + motion + " fix=valid", atRMC + position + " altitude=545.4m " + ofGGA + " fix=autonomous"} {
			if got := show(t, d); got != want {
				t.Errorf("Read %d: got %s, want %s", i+1, got, want)
			}
		}
	})
}

// TestEpochsWithoutTimes: a receiver that knows no time yet is told apart by kinds of sentences.
func TestEpochsWithoutTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := receiver(t, earliest, func(w *drivertest.Wire) {
			for range 2 {
				w.Say([]byte(sentence("GPRMC,,V,,,,,,,,,,N")))
				w.SayAfter(150*time.Millisecond, []byte(sentence("GPGGA,,,,,,0,00,99.99,,,,,,")))
			}
		})
		for i := range 2 {
			if got := show(t, d); strings.Count(got, "no fix: RMC says") != 5 || !strings.HasSuffix(got, "fix=none") || !strings.Contains(got, "satellites=0count") {
				t.Errorf("epoch %d: %s", i, got)
			}
		}
	})
}

// TestSilence: nothing, nothing of use, and one quantity that stays away are faults of what came before.
func TestSilence(t *testing.T) {
	const quiet = "nothing came for 10s: is the receiver on, and the cable right?"
	names := []string{"lat", "lon", "altitude", "speed", "course", "satellites", "hdop", "fix"}
	for name, tc := range map[string]struct {
		say  func(w *drivertest.Wire)
		want []string
	}{
		"nothing": {
			func(*drivertest.Wire) {},
			[]string{every("2 bytes but no end of a frame came in 10s: are baud, parity and framing right?", names...), every(quiet, names...)},
		},
		"nothing after RMC": {
			func(w *drivertest.Wire) { w.Say([]byte(sentence(rmc))) },
			[]string{atRMC + position + " " + motion + " fix=valid", every(quiet, "lat", "lon", "speed", "course", "fix"), every(quiet, "lat", "lon", "speed", "course", "fix")},
		},
		"others only": {
			func(w *drivertest.Wire) {
				for range 30 {
					w.SayAfter(time.Second, []byte(sentence("HCHDG,98.3,0.0,E,12.6,W")))
				}
			},
			[]string{
				every("8 sentences came in 10s and none was of use: switch on RMC and GGA in the receiver", names...),
				every("10 sentences came in 10s and none was of use: switch on RMC and GGA in the receiver", names...),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := receiver(t, earliest, tc.say)
				for i, want := range tc.want {
					if got := show(t, d); got != want {
						t.Errorf("Read %d: got %s, want %s", i+1, got, want)
					}
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		d := receiver(t, earliest, func(w *drivertest.Wire) {
			w.Say([]byte(sentence(rmc) + sentence(gga)))
			for i := range 15 {
				w.SayAfter(time.Second, []byte(sentence(edit(t, rmc, "123519", fmt.Sprint(123520+i)))))
			}
		})
		for i := range 16 {
			const gone = "the receiver has stopped sending it: no GGA came for 10s"
			got := show(t, d)
			if has := strings.Contains(got, every(gone, "satellites", "hdop")) && strings.Contains(got, every(gone, "altitude")); has != (i == 10) {
				t.Errorf("epoch %d: %s", i, got)
			}
		}
	})
}

func TestUnplugged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := receiver(t, earliest, func(w *drivertest.Wire) {
			w.Say([]byte(sentence(rmc) + sentence(gga)[:30]))
			w.HangUp()
		})
		for i, want := range []string{
			"error: read receiver: bus /dev/ttyACM0: gone: unplugged",
			"error: read receiver: bus /dev/ttyACM0: gone: unplugged",
		} {
			if got := show(t, d); got != want {
				t.Errorf("Read %d: got %s, want %s", i+1, got, want)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if got := show(t, d); got != "error: read receiver: device is closed: gone" {
			t.Error(got)
		}
	})
}

func TestConfig(t *testing.T) {
	for want, c := range map[string]*Config{
		"": {Port: "tcp://192.0.2.7:4001", Baud: 4800, Silence: 2 * time.Second},
		"port: is missing; give the serial port, for instance /dev/serial/by-id/usb-... or /dev/ttyUSB0": {Baud: 4800, Silence: time.Minute},
		"baud: is out of range (got 299); 300 to 921600":                                                 {Port: "p", Baud: 299, Silence: time.Minute},
		"silence: is out of range (got 1s); 2s to 24h":                                                   {Port: "p", Baud: 4800, Silence: time.Second},
	} {
		var got string
		for _, e := range c.Validate() {
			got += e.Error()
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	h := &drivertest.Host{}
	if _, err := (&Config{Port: "/dev/ttyACM0", Baud: 38400}).Open(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	want := drivers.Serial{Port: "/dev/ttyACM0", Baud: 38400, DataBits: 8, Parity: "none", StopBits: "1"}
	if got := h.Settings("/dev/ttyACM0"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestHear(t *testing.T) {
	for b, want := range map[string]string{
		"noise$GP" + sentence(rmc) + sentence(gga) + sentence("HCHDG,98.3,0.0,E,12.6,W") + sentence(rmc): "GNSS receiver (NMEA 0183): GPRMC GPGGA",
		sentence("GBGSV,1,1,01,05,40,083,46"): "GNSS receiver (NMEA 0183): GBGSV",
		sentence("HCHDG,98.3,0.0,E,12.6,W"):   "",
		"$" + rmc + "*00\r\n":                 "",
		"$" + rmc + "\r\n":                    "",
		"":                                    "",
		"T=21.5 N=1\n$\n*\n$*\n":              "",
	} {
		if got, _ := Driver.Hear([]byte(b)); got != want {
			t.Errorf("%q: got %q, want %q", b, got, want)
		}
	}
}

// TestChannels: the numbers of the quantities are those of their channels.
func TestChannels(t *testing.T) {
	for q, name := range map[int]string{lat: "lat", lon: "lon", altitude: "altitude", speed: "speed", course: "course", satellites: "satellites", hdop: "hdop", fix: "fix", quantities: chanTime, quantities + 1: chanSentence} {
		if got := Driver.Channels[q].Name; got != name {
			t.Errorf("channel %d is %s, want %s", q, got, name)
		}
	}
	if n := len(Driver.Channels); n != quantities+2 {
		t.Errorf("%d channels", n)
	}
}

// walker is a receiver that sends three sentences an epoch, each a burst, at one of three places.
func walker(h *drivertest.Host) {
	h.Ports = map[string]drivertest.Opener{drivertest.Any: func(context.Context) (drivers.Port, error) {
		n := 0
		return &drivertest.Wire{Next: func() ([]byte, time.Duration) {
			second, place, which := n/3%60, n/3%3, n%3
			n++
			at, north := fmt.Sprintf("1235%02d.00", second), fmt.Sprintf("4807.03%d", place)
			body := []string{
				"GNRMC," + at + ",A," + north + ",N,01131.000,E,022.4,084.4,281126,,,A",
				"GNGGA," + at + "," + north + ",N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,",
				"GNGSA,A,3,04,05,,09,12,,,24,,,,,2.5,0.9,2.1",
			}[which]
			pause := 10 * time.Millisecond
			if which == 0 {
				pause = 980 * time.Millisecond
			}
			return []byte(sentence(body)), pause
		}}, nil
	}}
}

func TestConformance(t *testing.T) {
	conformance.Run(t, Driver, conformance.Options{Far: walker})
}
