package receive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// ErrStopped is returned by Take when Run is stopping: the payload was not taken and must come again.
var ErrStopped = errors.New("receiver is stopping")

// Bounds of what Take accepts.
const (
	maxBody  = wire.MaxBody // bytes of a payload after decompression
	keptBody = 64 << 10     // bytes of a refused payload that are set aside
)

// Filter is the MQTT topic filter under which all gateways write: the generic profile of the contract.
const Filter = "tg/v1/+/up/#"

// A Payload is what came by one topic at one time.
type Payload struct {
	Topic string
	Body  []byte // SenML JSON, perhaps gzipped; belongs to the Receiver from Take on
	Done  func() // called once, by Run's goroutine, when the content is durable or set aside; nil = no one waits for it
}

// An arrival is a payload as far as it was understood.
type arrival struct {
	Payload
	key     Key
	lane    string
	pack    *wire.Pack
	plain   []byte   // the body, decompressed
	refused *Refusal // set when it was not understood
	gateway string   // set when it is a gateway's status: nothing to store
	at      time.Time
}

// size returns what the arrival weighs in the inbox, bytes: its text, and what was decoded from it.
func (a *arrival) size() int {
	if a.refused != nil {
		return len(a.refused.Body) + 64
	}
	return len(a.Body) + 2*len(a.plain) + 64
}

// Take takes p in; it returns once p is decoded and stands in the inbox, and waits while that is full. Content that cannot be
// understood is no error: it is set aside. The errors are ctx's and ErrStopped; then p was not taken and Done is not called.
// It may be called by any number of goroutines.
func (r *Receiver) Take(ctx context.Context, p Payload) error {
	a := &arrival{Payload: p, at: time.Now()}
	if why := r.understand(a); why != nil {
		x := a.refusal(why)
		a.refused, a.pack, a.plain, a.Body = &x, nil, nil, nil
	}
	if err := r.inbox.put(ctx, a); err != nil {
		return err
	}
	r.received.Add(1)
	return nil
}

// understand decodes a's payload. Its error is the reason for which the payload is set aside.
func (r *Receiver) understand(a *arrival) error {
	gateway, lane, err := splitTopic(a.Topic)
	if err != nil {
		return err
	}
	a.lane = lane
	switch lane {
	case "data", "backfill", "alarm", "audit":
	case "status":
		a.gateway = gateway
		return nil
	case "reply":
		return nil
	default:
		return fmt.Errorf("topic: got %q behind up/, want data, backfill, alarm, audit, status or reply", lane)
	}
	if a.plain, err = r.unzip.plain(a.Body); err != nil {
		return err
	}
	if a.pack, err = wire.DecodeSenML(a.plain); err != nil {
		return err
	}
	if a.pack.Gateway != gateway {
		return fmt.Errorf("base name: got gateway %q, want %q as in the topic", a.pack.Gateway, gateway)
	}
	a.key = Key{Gateway: gateway, Epoch: strings.Clone(a.pack.Epoch)} // the ledger keeps it, and not the text of which it is a part
	return nil
}

// splitTopic returns the gateway and the lane of tg/v1/{gateway}/up/{lane}.
func splitTopic(topic string) (gateway, lane string, err error) {
	rest, ok := strings.CutPrefix(topic, "tg/v1/")
	if ok {
		gateway, lane, ok = strings.Cut(rest, "/up/")
	}
	if !ok {
		return "", "", fmt.Errorf("topic: got %q, want tg/v1/{gateway}/up/{lane}", topic)
	}
	if err := tidegate.CheckName(gateway); err != nil {
		return "", "", fmt.Errorf("topic %q: gateway: %w", topic, err)
	}
	return gateway, lane, nil
}

// An unzipper decompresses; it keeps readers for use again.
type unzipper struct{ pool sync.Pool }

// plain returns body, decompressed when it begins with gzip's mark 1f 8b. It never returns more than maxBody bytes.
func (u *unzipper) plain(body []byte) ([]byte, error) {
	if len(body) < 2 || body[0] != 0x1f || body[1] != 0x8b {
		if len(body) > maxBody {
			return nil, fmt.Errorf("payload is %d bytes long, at most %d are taken", len(body), maxBody)
		}
		return body, nil
	}
	z, ok := u.pool.Get().(*gzip.Reader)
	if !ok {
		z = new(gzip.Reader)
	}
	defer u.pool.Put(z)
	if err := z.Reset(bytes.NewReader(body)); err != nil {
		return nil, fmt.Errorf("decompress payload: %w", err)
	}
	var out bytes.Buffer
	n, err := out.ReadFrom(io.LimitReader(z, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("decompress payload: %w", err)
	}
	if n > maxBody {
		return nil, fmt.Errorf("payload of %d bytes decompresses to more than %d", len(body), maxBody)
	}
	return out.Bytes(), nil
}

// refusal returns a as it is set aside, for the reason why.
func (a *arrival) refusal(why error) Refusal {
	return Refusal{
		Time: a.at, Topic: a.Topic, Why: why.Error(), Size: len(a.Body),
		Body: bytes.Clone(a.Body[:min(len(a.Body), keptBody)]),
	}
}
