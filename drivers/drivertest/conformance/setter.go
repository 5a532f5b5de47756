package conformance

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// checkSetter tries what a Setter has to take and what it has to refuse.
func (x *exam) checkSetter() {
	x.bubble(nil, func(r *run) {
		if r.reads(1, learn); r.dev == nil {
			return
		}
		s, isSetter := r.dev.(drivers.Setter)
		outputs := 0
		for _, c := range r.channels {
			if c.Output {
				outputs++
			}
		}
		if isSetter != (outputs > 0) {
			x.report("%d output channels are declared, and the device is a Setter: %v", outputs, isSetter)
		}
		if !isSetter {
			return
		}
		for _, c := range append(r.channels, drivers.Channel{Name: "no.such.channel"}) {
			for _, v := range valuesOfAllKinds() {
				var err error
				if !r.call("Set", 10*time.Second, "setter", func() { err = s.Set(r.ctx, c.Name, v) }) {
					return
				}
				r.judgeErr("Set", err)
				switch isOwn := c.Output && (v.Kind() == c.Kind || c.Kind == tidegate.KindNone); {
				case !c.Output && err == nil:
					x.report("Set of %s, which is no output, to %v returns no error", c.Name, v)
				case v.Kind() == tidegate.KindText && c.Kind != tidegate.KindText && c.Kind != tidegate.KindNone && err == nil,
					v.Kind() == tidegate.KindNone && err == nil:
					x.report("Set of %s to %q of kind %v returns no error", c.Name, v.String(), v.Kind())
				case isOwn && c.Kind == tidegate.KindBool && err != nil:
					x.report("Set of %s to %v returns %v", c.Name, v, err)
				}
			}
		}
	})
}

func valuesOfAllKinds() []tidegate.Value {
	return []tidegate.Value{
		{},
		tidegate.Bool(true), tidegate.Bool(false), tidegate.Float(1.5), tidegate.Int(-1), tidegate.Uint(1),
		tidegate.Text("x"), tidegate.Bytes([]byte{1}),
	}
}

// checkSetWhileReading sets outputs while a Read waits, in real time: a bubble's would stand still before a mutex. A Set may wait for its turn on
// the bus that a Read has, but ends with its ctx, as a Read does.
func (x *exam) checkSetWhileReading() {
	if !slices.ContainsFunc(x.channels(x.config()), func(c drivers.Channel) bool { return c.Output }) {
		return
	}
	h := &drivertest.Host{}
	drivertest.Silence(h)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dev, err := x.config().Open(ctx, h)
	if err != nil {
		return
	}
	s, ok := dev.(drivers.Setter)
	if !ok {
		_ = dev.Close()
		return
	}
	read, set := make(chan struct{}), make(chan struct{})
	readCtx, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	go func() {
		defer close(read)
		for readCtx.Err() == nil {
			if _, err := dev.Read(readCtx); err != nil && errors.Is(err, drivers.ErrGone) {
				return
			}
			runtime.Gosched()
		}
	}()
	go func() {
		defer close(set)
		outputs := slices.DeleteFunc(x.channels(x.config()), func(c drivers.Channel) bool { return !c.Output })
		for i := range 50 {
			setCtx, cancel := context.WithTimeout(readCtx, 10*time.Millisecond)
			_ = s.Set(setCtx, outputs[i%len(outputs)].Name, tidegate.Bool(true)) // what comes of it is check setter's
			cancel()
			wait(time.Millisecond)
		}
	}()
	select {
	case <-set:
	case <-time.After(2 * time.Second):
		x.report("Set waits for Read")
	}
	stop()
	<-read
	<-set
	_ = dev.Close()
}
