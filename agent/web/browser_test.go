package web

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/agent/status"
)

// shown serves src at address, and returns the address and what ends it.
func shown(t *testing.T, src Source, address string) (at string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- newServer(src).Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// contrast returns all texts of the page whose contrast to what lies behind them is less than 4.5 to 1 (WCAG 2.1, 1.4.3).
const contrast = `(() => {
  const rgb = s => (s.match(/[\d.]+/g) || []).map(Number);
  const part = x => { x /= 255; return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; };
  const light = c => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  const bad = [];
  for (const w = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT); w.nextNode();) {
    const e = w.currentNode.parentElement;
    if (!w.currentNode.data.trim() || !e.checkVisibility()) continue;
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(w.currentNode.data + " " + ((a + 0.05) / (b + 0.05)).toFixed(2));
  }
  return bad;
})()`

// TestBrowserShowsTheGateway loads the page into a real browser of a phone's size. The status comes as server-sent events and is shown
// under the page's own policy; so is a status that comes later.
func TestBrowserShowsTheGateway(t *testing.T) {
	t.Parallel()
	src := &source{status: sampleStatus()}
	at, stop := shown(t, src, "127.0.0.1:0")
	b := newBrowser(t, 390, 844)
	b.call("Page.navigate", map[string]any{"url": "http://" + at + "/"}, nil)
	b.until(" live ")
	seen := b.text()
	for _, want := range []string{
		"gw-plant-7 uplink down live", // head
		"Error the store does not take records input/output error → replace the card (for 60 min)",
		"Warning cloud: the uplink is down; readings are buffered → check network, address and credentials (for 0 s)",
		"produced 12 345", "delivered 12 000", "buffered 300", "set aside 5", "declared as gaps 40", "lost 0", "on disk 13 MB", "oldest buffered 5 min",
		"boiler ok modbus · every 0.1 s by rule closely · 12 000 readings · 1 s ago", "temp 71.5 °C", "power 1307.035 W", "energy 18 446 744 073 709 551 615 Wh", "disk 271 GB", "year 2026", "tiny -0.000001234568", "pump ✕ illegal data address", "door true",
		`<img src=x onerror=alert(1)>"} \ fault`, "serialtext · 0 readings · 17 faults open /dev/ttyUSB1: no such file or directory",
		"cloud down for 5 min · 61 batches · 100 kB mqtts://broker.example.org:8883 connection refused",
		"overheat boiler too hot active fired 3 times", "dry pending fired once", "door idle fired 0 times",
		"Tidegate v1.2.3 · up for 2 h · clock synchronised · epoch 00112233aabbccdd · next record 3 088",
	} {
		if !strings.Contains(seen, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if t.Failed() {
		t.Fatalf("it shows\n%s", seen)
	}
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		b.picture("phone-" + scheme)
		var bad []string
		if b.eval(contrast, &bad); len(bad) > 0 {
			t.Errorf("%s: too little contrast: %q", scheme, bad)
		}
	}
	var width int
	if b.eval("document.documentElement.scrollWidth", &width); width > 390 {
		t.Errorf("the page is %d pixels wide, the phone 390", width)
	}

	// An update leaves alone what the reader is at.
	b.eval(`document.querySelector("[data-key=boiler] summary").focus()`, nil)
	b.eval(`document.querySelectorAll("details")[1].open = false`, nil)
	src.set(func(s *status.Status) {
		s.Devices = slices.Clone(s.Devices)
		s.Devices[0].Values = []status.Value{{Channel: "temp", Value: "73.25", Unit: "Cel"}, {Channel: "litres", Value: "9", Unit: "l"}}
		s.Devices = append([]status.Device{{Name: "new", Driver: "sim", State: "off"}}, s.Devices...)
		s.Conditions = s.Conditions[:1]
		s.Uplinks, s.Rules = []status.Uplink{}, []status.Rule{}
		s.Account.Lost = 7
	})
	b.until("temp 73.25 °C")
	b.until("litres 9 l")
	seen = b.text()
	for _, gone := range []string{"uplink is down", "pump", "Uplinks", "Rules", "overheat", "uplink down"} {
		if strings.Contains(seen, gone) {
			t.Errorf("the page still shows %q in\n%s", gone, seen)
		}
	}
	if !strings.Contains(seen, "new off sim · 0 readings boiler ok") || !strings.Contains(seen, "lost 7") {
		t.Errorf("the page shows\n%s", seen)
	}
	var kept []any
	b.eval(`[document.activeElement.parentElement.dataset.key, document.querySelectorAll("details")[2].open, document.querySelector(".bad").innerText.includes("7")]`, &kept)
	if len(kept) != 3 || kept[0] != "boiler" || kept[1] != false || kept[2] != true {
		t.Errorf("focus, closed device and mark of what is lost are %v", kept)
	}

	// The gateway restarts.
	stop()
	b.until("no connection, trying again…")
	b.picture("phone-stale")
	src.set(func(s *status.Status) { s.Gateway = "gw-again" })
	_, _ = shown(t, src, at)
	b.until("gw-again live")

	b.judge("http://" + at + "/")
}

// judge looks at what the browser said: it asked nobody but the gateway, and neither policy nor script had anything to complain.
func (b *browser) judge(origin string) {
	b.t.Helper()
	asked := 0
	for _, h := range b.heard {
		switch h.Method {
		case "Network.requestWillBeSent":
			var x struct{ Request struct{ URL string } }
			if err := json.Unmarshal(h.Params, &x); err != nil {
				b.t.Fatal(err)
			}
			if u := x.Request.URL; !strings.HasPrefix(u, origin) && !strings.HasPrefix(u, "data:") {
				b.t.Errorf("the page asks %s", u)
			}
			asked++
		case "Runtime.exceptionThrown":
			b.t.Errorf("exception: %s", h.Params)
		case "Log.entryAdded":
			var x struct {
				Entry struct{ Source, Level, Text string }
			}
			if err := json.Unmarshal(h.Params, &x); err != nil {
				b.t.Fatal(err)
			}
			if x.Entry.Source != "network" { // the gateway was away
				b.t.Errorf("the browser complains: %s", h.Params)
			}
		}
	}
	if asked < 2 {
		b.t.Errorf("the page asked %d times, want itself and api/live", asked)
	}
}

// TestBrowserOnALargeScreen has a gateway with more than the page shows opened.
func TestBrowserOnALargeScreen(t *testing.T) {
	t.Parallel()
	s := sampleStatus()
	for len(s.Devices[0].Values) < 64 {
		s.Devices[0].Values = append(s.Devices[0].Values, status.Value{Channel: "r" + string(rune('a'+len(s.Devices[0].Values)%26)) + strings.Repeat("x", len(s.Devices[0].Values)/26), Value: "1"})
	}
	src := &source{status: s}
	at, _ := shown(t, src, "127.0.0.1:0")
	b := newBrowser(t, 1280, 800)
	b.call("Page.navigate", map[string]any{"url": "http://" + at + "/"}, nil)
	b.until(" live ")
	if seen := b.text(); !strings.Contains(seen, "boiler ok") || strings.Contains(seen, "temp 71.5") {
		t.Errorf("a device with many channels is not closed at first:\n%s", seen)
	}
	b.picture("desk-closed")
	b.eval(`document.querySelector("[data-key=boiler] summary").click()`, nil)
	b.until("temp 71.5 °C")
	b.picture("desk")
	b.judge("http://" + at + "/")
}

// TestBrowserIsRefused: a page too many gets an answer that no EventSource tries again after; the page does.
func TestBrowserIsRefused(t *testing.T) {
	t.Parallel()
	s := newServer(&source{status: sampleStatus()})
	for range maxLive {
		s.live <- struct{}{}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, l) }()
	defer func() { cancel(); <-ended }()
	b := newBrowser(t, 390, 844)
	b.call("Page.navigate", map[string]any{"url": "http://" + l.Addr().String() + "/"}, nil)
	b.until("no connection, trying again…")
	<-s.live
	b.until("gw-plant-7 uplink down live")
}
