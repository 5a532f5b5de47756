package receive

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// A world is what gateways have and what a receiver has promised of it.
type world struct {
	t        *rapid.T
	sink     *memory
	r        *Receiver
	promised map[string]bool // identities that a receipt covered
	dropped  map[string]bool // identities that a Done let the broker forget
	excused  map[string]bool // identities that were skipped or declared a gap
}

const numbers = 30 // records of each epoch

// channelsOf returns what the record n has: a function of its identity alone.
func channelsOf(k Key, n uint64) (out []string) {
	for i := range 1 + (n*7+uint64(len(k.Epoch)))%4 {
		out = append(out, fmt.Sprintf("%s%d", k.Epoch, i))
	}
	return out
}

func identity(k Key, n uint64) string { return fmt.Sprintf("%s/%s/%d", k.Gateway, k.Epoch, n) }

// TestModel sends records in random cuts, parts, duplicates, gaps and skips through receivers whose sink fails and which die, and
// checks after each group that nothing that was promised is missing and nothing is there twice.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, sink: newMemory(), promised: map[string]bool{}, dropped: map[string]bool{}, excused: map[string]bool{}}
		w.start()
		for range rapid.IntRange(1, 25).Draw(t, "groups") {
			w.group()
			w.check()
		}
	})
}

func (w *world) start() {
	r, err := New(context.Background(), Options{Sink: w.sink})
	if err != nil {
		w.t.Fatal(err)
	}
	w.r = r
}

// group sends one group of payloads and lets the sink take it, or fail, or take it and die.
func (w *world) group() {
	for range rapid.IntRange(0, 5).Draw(w.t, "payloads") {
		p := w.payload()
		if err := w.r.Take(context.Background(), p); err != nil {
			w.t.Fatal(err)
		}
	}
	w.sink.fail, w.sink.kept = nil, false
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if rapid.IntRange(0, 3).Draw(w.t, "crash") == 0 {
		cancel()
		w.sink.fail, w.sink.kept = func() error { return errors.New("crash") }, rapid.Bool().Draw(w.t, "after it was stored")
	}
	if err := w.r.write(ctx, w.r.inbox.take()); err != nil {
		w.start()
		return
	}
	if rapid.IntRange(0, 5).Draw(w.t, "restart") == 0 {
		w.start()
	}
}

// payload draws one payload. Its Done notes what the broker may forget from then on.
func (w *world) payload() Payload {
	k := Key{Gateway: rapid.SampledFrom([]string{"g", "h"}).Draw(w.t, "gateway"), Epoch: rapid.SampledFrom([]string{"e", "ff"}).Draw(w.t, "epoch")}
	pack := wire.Pack{Gateway: k.Gateway, Epoch: k.Epoch}
	var done []string
	first := rapid.Uint64Range(1, numbers).Draw(w.t, "first")
	switch rapid.IntRange(0, 5).Draw(w.t, "kind") {
	case 0: // one part of a record, cut by its channels
		all := channelsOf(k, first)
		total := rapid.IntRange(1, len(all)).Draw(w.t, "total")
		i := rapid.IntRange(1, total).Draw(w.t, "part")
		to := i
		if i == total {
			to = len(all)
		}
		pack.Records, pack.Part = []tidegate.Record{rec(first, all[i-1:to]...)}, wire.Part{Index: i, Total: total}
	case 1: // a gap
		to := first + rapid.Uint64Range(0, 5).Draw(w.t, "gap")
		g := gapRecord(numbers+first, tidegate.Gap{From: first, To: to, Count: 1, Cause: tidegate.CauseOverflow})
		pack.Records = []tidegate.Record{g}
		for n := first; n <= to; n++ {
			w.excused[identity(k, n)] = true
		}
	default:
		for n := first; n <= min(numbers, first+8); n++ {
			switch rapid.IntRange(0, 5).Draw(w.t, "record") {
			case 0: // left out
			case 1:
				pack.Skip.Add(tidegate.Range{First: n, Last: n})
				w.excused[identity(k, n)] = true
			default:
				pack.Records = append(pack.Records, rec(n, channelsOf(k, n)...))
				done = append(done, identity(k, n))
			}
		}
	}
	if len(pack.Records) == 0 && len(pack.Skip) == 0 {
		return Payload{Topic: "tg/v1/g/up/data", Body: []byte("[")}
	}
	body, err := wire.AppendSenML(nil, &pack)
	if err != nil {
		w.t.Fatal(err)
	}
	lane := rapid.SampledFrom([]string{"data", "backfill"}).Draw(w.t, "lane")
	return Payload{Topic: "tg/v1/" + k.Gateway + "/up/" + lane, Body: body, Done: func() {
		for _, id := range done {
			w.dropped[id] = true
		}
	}}
}

// check compares what is stored with what was promised, and promises what receipts say now.
func (w *world) check() {
	stored := w.sink.stored()
	for id := range w.promised {
		if stored[id] == nil && !w.excused[id] {
			w.t.Fatalf("%s was promised and is not there", id)
		}
	}
	for id := range w.dropped {
		if stored[id] == nil {
			w.t.Fatalf("%s was taken and is not there", id)
		}
	}
	var records, readings int
	for _, g := range []string{"g", "h"} {
		for _, e := range []string{"e", "ff"} {
			k := Key{g, e}
			for n := uint64(1); n <= numbers; n++ {
				got, want := stored[identity(k, n)], channelsOf(k, n)
				if got != nil && len(got) != len(want) {
					w.t.Fatalf("%s has the readings %v, want those of %v", identity(k, n), got, want)
				}
			}
			w.promise(k, stored)
		}
	}
	for _, got := range stored {
		records++
		readings += len(got)
	}
	for _, g := range w.r.Account().Gateways {
		for _, e := range g.Epochs {
			records -= int(e.StoredRecords)
			readings -= int(e.StoredReadings)
		}
	}
	if records != 0 || readings != 0 {
		w.t.Fatalf("there are %d records and %d readings more than in the account", records, readings)
	}
}

// promise notes what the receipt of k promises now, all of which must be there.
func (w *world) promise(k Key, stored map[string][]string) {
	row := w.r.ledger.Row(k)
	if row == nil {
		return
	}
	upto, holes := row.Receipt()
	for n := uint64(1); n <= upto; n++ {
		id := identity(k, n)
		if holes.Contains(n) {
			if stored[id] != nil {
				w.t.Fatalf("%s is stored and yet a hole", id)
			}
			continue
		}
		if stored[id] == nil && !w.excused[id] {
			w.t.Fatalf("the receipt covers %s, which is not there", id)
		}
		w.promised[id] = true
	}
}
