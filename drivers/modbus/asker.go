package modbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

const (
	silentOnTCP  = 4 // requests in a row without a reply and a connection is given up: it may be dead without a word
	requestsMost = 8 // one request and the probes ahead of it; link.RTU wants fewer
)

// framing carries one request over a port: link.RTU or link.TCP.
type framing interface {
	Exchange(p drivers.Port, q link.Request) ([]byte, error)
	Probe(q link.Request, spans []link.Request) (p link.Request, ok bool)
}

// An asker carries the requests of one caller to one unit. Read has one of its own, and each Set makes one: Set may run while Read waits,
// and all that they share is the bus and what is kept on it.
type asker struct {
	where  string // "unit 3 on /dev/ttyUSB0"
	bus    *drivers.Bus
	link   framing
	spans  []link.Request // what is read anyway; see link.RTU.Probe
	silent int            // requests in a row without a reply
	// patient is the unit as the doctor knows it by Reads; nil where the doctor is of no use, on TCP, and of a Set.
	patient *patient

	// For do and its closure, so that a Read makes none.
	call  func(p drivers.Port) error
	ran   bool // the bus gave us its port
	asked link.Request
	sent  link.Request // asked, or a probe
	body  []byte
	err   error
}

// ask sends q, and probes ahead of it as long as they have to go: an exception settles one debt only. heard reports whether the
// unit answered anything.
func (a *asker) ask(ctx context.Context, q link.Request) (body []byte, heard bool, err error) {
	for range requestsMost {
		body, err = a.do(ctx, q)
		isReply := err == nil || isRefusal(err)
		heard = heard || isReply
		if a.sent == q || !isReply {
			return body, heard, err
		}
	}
	return nil, heard, fmt.Errorf("%s: %s: not asked: late replies may be under way, and the unit refused %d requests that would settle them",
		a.where, q.Deed(), requestsMost)
}

// do carries q, or a probe that has to go ahead of it, over the bus and puts errors into words, which speak of q either way. A read is tried
// again at once where the far end hung up before the reply: many units close a connection that was idle. A write never is.
func (a *asker) do(ctx context.Context, q link.Request) ([]byte, error) {
	a.asked, a.sent = q, q
	var err error
	for range 2 {
		a.ran, a.body, a.err = false, nil, nil
		if err = a.bus.Do(ctx, a.call); !errors.Is(a.err, link.ErrHungUp) || a.sent.Write != 0 || ctx.Err() != nil {
			break
		}
	}
	if err == nil {
		a.silent = 0
		return a.body, nil
	}
	if isRefusal(a.err) {
		a.silent = 0
	} else {
		a.silent++
	}
	var none link.NoReply
	switch {
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return nil, fmt.Errorf("%s: %s: %w (%w)", a.where, q.Deed(), ctx.Err(), err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %s: %w", a.where, q.Deed(), err)
	case !a.ran:
		return nil, fmt.Errorf("%s: %w", a.where, err)
	case errors.As(a.err, &none) && a.sent != q:
		none.To = q
		return nil, fmt.Errorf("%s: %w", a.where, none)
	case isNoReply(a.err):
		return nil, fmt.Errorf("%s: %w", a.where, a.err)
	}
	return nil, fmt.Errorf("%s: %s: %w", a.where, q.Deed(), a.err)
}

// isOut reports whether q, which was asked last, may have reached the unit.
func (a *asker) isOut(q link.Request) bool {
	var unsent link.Unsent
	return a.ran && a.sent == q && !errors.As(a.err, &unsent)
}

// isRefusal reports whether err is an exception of the unit itself, not of a gateway that does not reach it.
func isRefusal(err error) bool {
	if err == nil {
		return false // without the allocation that errors.As needs
	}
	var e link.Exception
	return errors.As(err, &e) && !e.IsAbsent()
}

func isNoReply(err error) bool {
	if err == nil {
		return false // without the allocation that errors.As needs
	}
	var e link.NoReply
	return errors.As(err, &e)
}

// exchange is what do has done on the bus. Whether a probe has to go ahead is seen here only: another device may have left a debt
// while this one waited for the bus.
func (a *asker) exchange(p drivers.Port) error {
	a.ran, a.sent = true, a.asked
	if probe, ok := a.link.Probe(a.asked, a.spans); ok {
		a.sent = probe
	}
	if a.patient != nil {
		a.patient.Asked()
	}
	a.body, a.err = a.link.Exchange(p, a.sent)
	if _, onTCP := a.link.(*link.TCP); onTCP && isNoReply(a.err) && (a.silent+1)%silentOnTCP == 0 {
		a.err = fmt.Errorf("%w; connection given up: %w", a.err, drivers.ErrGone)
	}
	return a.err
}
