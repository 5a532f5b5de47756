package receive

import (
	"bytes"
	"compress/gzip"
	"context"
	"runtime"
	"testing"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// FuzzTake gives any topic and body to a Receiver: it must not panic, must store or set aside, must agree with what it has stored
// when loaded again, and must not take memory out of proportion.
func FuzzTake(f *testing.F) {
	whole := payload(f, "data", wire.Pack{Gateway: "g", Epoch: "e", Records: recs(1, 3), Skip: tidegate.Ranges{{First: 4, Last: 9}}})
	gap := payload(f, "audit", wire.Pack{Gateway: "g", Epoch: "e", Records: []tidegate.Record{
		gapRecord(9, tidegate.Gap{From: 1, To: 1<<64 - 1, Count: 3, Cause: "overflow", Epoch: "f"}),
	}})
	one := part(f, 1, 2, 3, "a", "b")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(whole.Body); err != nil {
		f.Fatal(err)
	}
	if err := z.Close(); err != nil {
		f.Fatal(err)
	}
	for _, p := range []Payload{whole, gap, one, {Topic: whole.Topic, Body: zipped.Bytes()}, {Topic: "tg/v1/g/up/status"}, {Topic: "tg/v1/+/up/#", Body: []byte("[{}]")}} {
		f.Add(p.Topic, p.Body)
	}
	f.Fuzz(func(t *testing.T, topic string, body []byte) {
		m := newMemory()
		r := receiver(t, m)
		done := 0
		before := allocated()
		for range 2 {
			p := Payload{Topic: topic, Body: bytes.Clone(body), Done: func() { done++ }}
			if err := r.Take(context.Background(), p); err != nil {
				t.Fatal(err)
			}
			if err := r.write(context.Background(), r.inbox.take()); err != nil {
				t.Fatal(err)
			}
		}
		take(t, r) // what is carried
		if grown := allocated() - before; grown > 64<<20+400*uint64(len(body)) {
			t.Errorf("%d bytes allocated for a body of %d", grown, len(body))
		}
		if done != 2 {
			t.Errorf("Done was called %d times for 2 payloads", done)
		}
		for id, readings := range m.stored() {
			if len(readings) == 0 || len(readings) > tidegate.MaxReadings {
				t.Errorf("%s has %d readings", id, len(readings))
			}
		}
		a, b := r.Account(), receiver(t, m).Account()
		b.Received = a.Received
		if x, y := len(a.Gateways), len(b.Gateways); x != y || a.Refused != b.Refused {
			t.Errorf("account %+v, loaded again %+v", a, b)
		}
		for _, g := range a.Gateways {
			for _, e := range g.Epochs {
				if e.StoredRecords > 0 && e.Duplicates != e.StoredRecords {
					t.Errorf("sent twice: %d stored, %d duplicates", e.StoredRecords, e.Duplicates)
				}
			}
		}
	})
}

// allocated returns how many bytes have been allocated so far.
func allocated() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.TotalAlloc
}
