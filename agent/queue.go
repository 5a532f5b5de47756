package agent

import (
	"context"
	"io"
	"time"

	"github.com/tidegate-io/tidegate/agent/export"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
)

// Export writes what is stored to w; see export.Write. What is not committed yet is not in it. It works half of the time, so that others have theirs.
// A stop of the gateway ends it early, with an error, and a Write that hangs, where w has a method End for that.
func (a *Agent) Export(ctx context.Context, w io.Writer, what status.Export) (done status.Exported, err error) {
	err = a.whileOpen(ctx, func(ctx context.Context, l *opened) error {
		defer endWith(ctx, w)()
		done, err = export.Write(ctx, w, &export.Options{
			Export: what, Queue: l.queue, Pause: func(ctx context.Context, worked time.Duration) { wait(ctx, min(worked, time.Second)) },
		})
		return err
	})
	return done, err
}

// endWith ends what is written to w when ctx is done; stop calls that off.
func endWith(ctx context.Context, w io.Writer) (stop func() bool) {
	if e, ok := w.(interface{ End() }); ok {
		return context.AfterFunc(ctx, e.End)
	}
	return func() bool { return false }
}

// Rejected lists what is set aside.
func (a *Agent) Rejected(ctx context.Context) (list status.RejectedList, err error) {
	err = a.whileOpen(ctx, func(_ context.Context, l *opened) error {
		list, err = export.Rejected(l.queue)
		return err
	})
	return list, err
}

// Requeue makes records that are set aside go to their uplink again; see export.Requeue.
func (a *Agent) Requeue(ctx context.Context, r status.Requeue) (done status.Requeued, err error) {
	err = a.whileOpen(ctx, func(ctx context.Context, l *opened) error {
		done, err = export.Requeue(l.queue, r, func(x *buffer.Requeue) error { return l.line.Requeue(ctx, x) })
		return err
	})
	if err == nil && done.Records > 0 {
		a.log.Info("records that were set aside go again", "uplink", done.Uplink, "records", done.Records, "readings", done.Readings)
	}
	return done, err
}

// Export writes what is stored to w; see export.Write.
func (o *Offline) Export(ctx context.Context, w io.Writer, what status.Export) (status.Exported, error) {
	return export.Write(ctx, w, &export.Options{Export: what, Queue: o.line.queue})
}

// Rejected lists what is set aside.
func (o *Offline) Rejected() (status.RejectedList, error) { return export.Rejected(o.line.queue) }

// Requeue makes records that are set aside go to their uplink again, when the gateway runs; see export.Requeue.
func (o *Offline) Requeue(r status.Requeue) (status.Requeued, error) {
	return export.Requeue(o.line.queue, r, func(x *buffer.Requeue) error {
		for {
			if more, err := o.line.queue.Requeue(x); !more || err != nil {
				return err
			}
		}
	})
}
