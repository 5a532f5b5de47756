// Package farend is tidegate-receive as a function: a Receiver that subscribes at an MQTT broker and stores into an NDJSON sink,
// with a page for monitoring. It is wiring only.
package farend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/sync/receive/sink"
	"github.com/tidegate-io/tidegate/sync/receive/subscribe"
)

// Options says what to run.
type Options struct {
	Directory string                // of the NDJSON sink; required
	Broker    subscribe.Options     // its Filter and Log are filled in
	Files     sink.NDJSONOptions    //
	Listen    string                // address for /healthz and /metrics, for instance 127.0.0.1:9480; "" = none
	Receiver  receive.Options       // its Sink, Publish and Log are filled in
	Log       *slog.Logger          // nil = nothing is logged
	Ready     func(listen net.Addr) // called once all is set up; listen is nil without Listen. nil = no one asks
}

// Run receives until ctx is done, then finishes the writes in progress and returns the account.
func Run(ctx context.Context, o Options) (account receive.Account, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Broker.Filter, o.Broker.Log = receive.Filter, o.Log
	subscriber, err := subscribe.New(o.Broker)
	if err != nil {
		return account, err
	}
	store, err := sink.OpenNDJSON(o.Directory, o.Files)
	if err != nil {
		return account, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	o.Receiver.Sink, o.Receiver.Publish, o.Receiver.Log = store, subscriber.Publish, o.Log
	receiver, err := receive.New(ctx, o.Receiver)
	if err != nil {
		return account, fmt.Errorf("open %s: %w", o.Directory, err)
	}
	workers := []func(context.Context) error{func(ctx context.Context) error {
		return subscriber.Run(ctx, func(ctx context.Context, d subscribe.Delivery) error {
			return receiver.Take(ctx, receive.Payload{Topic: d.Topic, Body: d.Body, Done: d.Ack})
		}, receiver.Announce)
	}}
	var at net.Addr
	if o.Listen != "" {
		l, err := net.Listen("tcp", o.Listen)
		if err != nil {
			return account, fmt.Errorf("listen: %w", err)
		}
		at = l.Addr()
		watch := page{receiver: receiver, subscriber: subscriber}
		workers = append(workers, func(ctx context.Context) error { return serve(ctx, l, watch.routes()) })
	}
	if o.Ready != nil {
		o.Ready(at)
	}
	err = receiver.Run(ctx, workers...)
	return receiver.Account(), err
}

// serve answers on l until ctx is done.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := http.Server{
		Handler: h, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 60 * time.Second,
		MaxHeaderBytes: 64 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("listen: %w", err)
	}
	return nil
}
