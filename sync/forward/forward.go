// Package forward takes records from a cursor and gives them to an uplink: in order within each lane, each at least once, and
// settled only when the far side has them. It knows no protocol and no topic, starts no goroutine, and holds nothing that must
// survive: what was not confirmed is still in the queue.
//
// Four lanes share one connection. Alarms go first, then audit records (gaps are among them), then readings: live ones as they come,
// and the backlog of those that are older than a minute in a share of the link. What is in flight is bounded by what the link took
// in the last seconds, so that a slow link never times out on its own queue. Any error of the uplink means that nothing in flight
// arrived: the lanes go back to what is not settled, and after a pause with jitter a new connection is opened.
//
// Records of class debug are not sent: they stay on the gateway.
package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/forward/pace"
	"github.com/tidegate-io/tidegate/sync/forward/pack"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// ErrBeyond is wrapped by the error of Run when a receipt reaches beyond the highest number that this gateway can have given: its
// state is older than the far side (a restored backup). Nothing may be sent under this epoch; start a new one, then Run again.
var ErrBeyond = errors.New("the far side has numbers that this gateway never gave")

// A Source is where records come from: a cursor of the buffer. It is used by one goroutine.
type Source interface {
	// Next looks at frames of class that lie at or after from (a frame that straddles from is the first of them), in order, that hold
	// at least one record the cursor still wants; at least one frame if there is any, at most about maxBytes of bodies. It never
	// waits. Bodies are only read, and not kept after the records in them are settled.
	Next(class tidegate.Class, from buffer.Place, maxBytes int) ([]buffer.Look, error)
	// Changed is signalled (capacity 1) when there may be something new to look at.
	Changed() <-chan struct{}
	// Ack says that the far side has rs of the epoch with this name. It may be repeated; unknown numbers are ignored.
	Ack(epoch string, rs tidegate.Ranges) error
	// Reject sets r aside for good, with the reason.
	Reject(epoch string, r tidegate.Range, why string) error
}

var _ Source = (*buffer.Cursor)(nil)

// Options are what a Forwarder needs; those without a default must be set.
type Options struct {
	Name       string                                    // of the uplink: records meant for another one are skipped
	Gateway    string                                    // gateway id
	Source     Source                                    //
	Open       func(ctx context.Context) (Uplink, error) // makes a connection; it returns when ctx is done
	Readings   int                                       // most readings in a batch, 1 and up; default 200. Records stay whole
	Every      time.Duration                             // longest time a live reading waits for company; default 1 s
	Gzip       bool                                      // compress payloads
	Receipts   bool                                      // settle by receipts of the far side; else by the next hop's acknowledgement
	MaxPayload int                                       // bytes of a payload the far side takes; default 256 KiB - 1 KiB for its header
	Log        *slog.Logger                              // default: none

	// Decode appends the records of a frame's body to dst.
	Decode func(dst []tidegate.Record, class tidegate.Class, first uint64, body []byte) ([]tidegate.Record, error)
	// Encode appends p as a payload to dst.
	Encode func(dst []byte, p *wire.Pack) ([]byte, error)

	// Returned returns from where on records have come back to the queue since the last call, before others that were looked at already; it is
	// asked before each look. nil = none ever do.
	Returned func() (p buffer.Place, ok bool)
	// Given returns the highest number that can have been given in the epoch; known is false when it is not an epoch of ours.
	// nil = receipts are not checked against it.
	Given func(epoch string) (highest uint64, known bool)
	// Beyond is called when a receipt reaches beyond Given, before Run returns ErrBeyond. nil = not called.
	Beyond func(epoch string, upto uint64)
}

// What the forwarder keeps to.
const (
	liveAge        = 60 * time.Second      // readings older than this are backlog
	ackTimeout     = 30 * time.Second      // without progress while something is in flight
	receiptTimeout = 60 * time.Second      // from acknowledgement to receipt
	stopGrace      = 5 * time.Second       // for what is in flight when Run is told to stop
	lookEvery      = 10 * time.Millisecond // shortest time between two looks for something new
	openTimeout    = 60 * time.Second      // for Open
	defaultMax     = 256<<10 - 1<<10       // bytes of a payload
	poisonWithin   = 5 * time.Second       // from sending to the drop
	lookBytes      = 128 << 10             // of bodies per look
	maxProbes      = 2                     // batches, beyond the usual, that go without a receipt after connections ended for want of one
	maxUnsure      = 8192                  // runs of numbers remembered as sent and not settled, per epoch
	holdBytes      = 512 << 10             // of bodies looked at and not sent, per lane
	maxRecords     = 1 << 14               // records decoded and not sent, per lane, beyond the frame that reaches it
	idleEvery      = 10 * time.Second      // longest time that live readings for other uplinks wait, where none is for this one
)

// A Forwarder brings the records of one cursor to one far side. Make it with New; Run it in one goroutine.
type Forwarder struct {
	o      Options
	lanes  [4]*lane // by Lane
	pack   pack.Packer
	poison poison
	back   pace.Backoff
	share  pace.Share
	unsure map[uint32]*tidegate.Ranges // sent at least once and not settled, by epoch: to count what is sent again
	first  int                         // most records in the first batch of a connection; 0 = as many as fit
	rate   float64                     // what the link took on the connection before; 0 = not known
	probes int                         // batches that a connection may send beyond the usual before there is a receipt
	stats  stats
}

// New returns a Forwarder that has sent nothing yet.
func New(o Options) (*Forwarder, error) {
	if o.Source == nil || o.Open == nil || o.Decode == nil || o.Encode == nil {
		return nil, errors.New("make a forwarder: Source, Open, Decode and Encode must be set")
	}
	if o.Readings < 0 || o.Every < 0 || o.MaxPayload < 0 {
		return nil, fmt.Errorf("make a forwarder: readings %d, every %v, max payload %d: none may be negative",
			o.Readings, o.Every, o.MaxPayload)
	}
	if o.Readings == 0 {
		o.Readings = 200
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = defaultMax
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &Forwarder{o: o, unsure: map[uint32]*tidegate.Ranges{}}
	f.pack = pack.Packer{Gateway: o.Gateway, Uplink: o.Name, Gzip: o.Gzip, MaxPayload: o.MaxPayload, Encode: o.Encode}
	classes := [4]tidegate.Class{
		LaneData: tidegate.ClassReading, LaneBackfill: tidegate.ClassReading,
		LaneAlarm: tidegate.ClassAlarm, LaneAudit: tidegate.ClassAudit,
	}
	for i := range f.lanes {
		f.lanes[i] = &lane{f: f, lane: Lane(i), class: classes[i], more: true}
	}
	f.lanes[LaneBackfill].before = f.lanes[LaneData]
	f.stats.s.Since = time.Now()
	return f, nil
}

// Run sends until ctx is done; then it waits up to 5 s for what is in flight and returns nil. Errors of the uplink are met with a
// new connection. It returns an error only when the queue fails, or one wrapping ErrBeyond; both may be followed by another Run.
func (f *Forwarder) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		good, served, err := f.connection(ctx)
		if err == nil {
			break
		}
		var halt *haltError
		if errors.As(err, &halt) {
			return halt.err
		}
		wait := f.back.Next(good, served)
		f.o.Log.Warn("uplink is down", "uplink", f.o.Name, "cause", err, "next try in", wait.Round(time.Millisecond))
		pause(ctx, wait)
	}
	return nil
}

// haltError ends Run: the queue failed, or the epoch must change.
type haltError struct{ err error }

func (h *haltError) Error() string { return h.err.Error() }
func (h *haltError) Unwrap() error { return h.err }

func halt(doing string, err error) error {
	return &haltError{fmt.Errorf("%s: %w", doing, err)}
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// connection opens one uplink and serves it to its end. It returns for how long that was good, which a connection is not on which
// the far side fell silent, and whether something was settled. err is nil only when ctx is done.
func (f *Forwarder) connection(ctx context.Context) (good time.Duration, served bool, err error) {
	octx, cancel := context.WithTimeout(ctx, openTimeout)
	up, err := f.o.Open(octx)
	cancel()
	if err != nil {
		if ctx.Err() != nil {
			return 0, false, nil
		}
		err = fmt.Errorf("open uplink: %w", err)
		f.stats.down(err)
		return 0, false, err
	}
	f.stats.up()
	f.o.Log.Info("uplink is up", "uplink", f.o.Name)
	began := time.Now()
	c := newConn(f, up)
	err = c.serve(ctx)
	f.rewind(c, err)
	if !errors.Is(err, errAckTimeout) {
		good = time.Since(began)
	}
	if cerr := up.Close(); cerr != nil && err == nil && ctx.Err() == nil {
		err = fmt.Errorf("close uplink: %w", cerr)
	}
	if ctx.Err() != nil && !isHalt(err) {
		err = nil
	}
	f.stats.down(err)
	return good, c.served, err
}

func isHalt(err error) bool {
	var h *haltError
	return errors.As(err, &h)
}

// rewind puts the lanes back to the first record that is not settled; c is over for the reason err.
func (f *Forwarder) rewind(c *conn, err error) {
	held := f.poison.lone // it was held back, or is not settled: the lanes come back to it in any case
	f.poison.ended(c.flights, err)
	f.poison.unanswered(c, err)
	if errors.Is(err, errNoReceipt) {
		f.probes = min(f.probes+1, maxProbes)
	} else if !f.poison.silent() {
		f.probes = 0
	}
	if f.poison.lone != nil {
		f.stats.update(func(s *Stats) { s.HeldBack++ })
	}
	live, back := f.lanes[LaneData], f.lanes[LaneBackfill]
	for _, l := range f.lanes {
		l.rewind(l.place())
	}
	for _, fl := range c.flights {
		l := f.lanes[fl.lane]
		if fl.place.Before(l.next) && !(l == live && fl.place.Before(live.floor)) {
			l.rewind(fl.place)
		}
		if l == live && fl.place.Before(back.next) {
			back.rewind(fl.place)
		}
	}
	if held != nil {
		f.comeBack(held)
	}
	f.rate = c.win.Rate()
	if errors.Is(err, errAckTimeout) && !errors.Is(err, errNoReceipt) {
		f.first, f.rate = max(1, c.oldestRecords()/2), 0 // it is not what it was
	}
}

// again makes the lanes begin again no later than at p, but the live one not before its last jump: that is the backlog's.
func (f *Forwarder) again(p buffer.Place) {
	for _, l := range f.lanes {
		if l.lane != LaneData || !p.Before(l.floor) {
			l.rewindBefore(p)
		}
	}
}

// comeBack makes the lanes begin again no later than at s.
func (f *Forwarder) comeBack(s *suspicion) {
	for _, l := range f.lanes {
		if l.class == f.lanes[s.lane].class {
			l.rewindBefore(s.first)
		}
	}
}
