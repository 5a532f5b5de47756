// Package subscribe brings payloads from an MQTT 3.1.1 broker to the far end, and receipts back.
//
// The session at the broker is persistent and each payload is acknowledged only when whoever takes it says so: what was not,
// comes again after the next connect. Each connection has a paho client of its own, without its reconnecting and without its
// store, because a token of the former completes without an acknowledgement. How many payloads are under way at a time is for the
// broker to bound (mosquitto: max_inflight_messages, 20 unless set): 3.1.1 has no means to ask for it.
//
// It stands apart from sync/mqtt, which is an Uplink and brings the gateway's buffer with it.
package subscribe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// Times of a connection.
const (
	keepAlive      = 30 * time.Second
	pingTimeout    = 10 * time.Second
	writeTimeout   = 10 * time.Second
	publishTimeout = 2 * time.Second // for the writer to take a publish; on a connection that is ending no one does
	connectTimeout = 15 * time.Second
	quiesce        = 500 * time.Millisecond // for what is to be written before a disconnect
	pauseShortest  = time.Second
	pauseLongest   = 120 * time.Second
	stable         = 60 * time.Second // a connection that lasted so long makes the next pause a short one again
)

// ErrNotConnected is returned by Publish while there is no connection.
var ErrNotConnected = errors.New("not connected to the broker")

// Options says where to subscribe. URL, ID and Filter are required.
type Options struct {
	URL          string       // mqtt://host[:1883] or mqtts://host[:8883]
	ID           string       // MQTT's client identifier: must stay the same, the broker keeps the session under it
	Filter       string       // topic filter
	User         string       // "" = none
	PasswordFile string       // file with the password, a line feed at its end is left out; "" = none
	CA           string       // file with certificates (PEM) that sign the broker's; "" = the system's
	Cert, Key    string       // files with the certificate and key (PEM) to show to the broker; "" = none
	MaxBody      int          // longest payload that is let in, bytes; default 16 MiB. A longer one ends the connection
	Log          *slog.Logger // nil = nothing is logged

	LongestPause time.Duration // before the next try to connect; default 120 s
}

// A Delivery is one payload on its way in.
type Delivery struct {
	Topic string
	Body  []byte // belongs to the taker
	Ack   func() // tells the broker that it need not come again; does nothing once the connection is gone
}

// A Subscriber is a subscription, connected again and again. Make one with New, let Run work.
type Subscriber struct {
	options Options
	broker  *url.URL // scheme tcp or tls, with a port

	mu        sync.Mutex
	client    paho.Client // nil = not connected
	lastError error       // why there is no connection
}

// New checks o, and the files that it names.
func New(o Options) (*Subscriber, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 16 << 20
	}
	if o.LongestPause <= 0 {
		o.LongestPause = pauseLongest
	}
	if o.ID == "" || o.Filter == "" {
		return nil, fmt.Errorf("subscribe: client identifier and topic filter must be set (got %q and %q)", o.ID, o.Filter)
	}
	broker, err := brokerURL(o.URL)
	if err != nil {
		return nil, err
	}
	s := &Subscriber{options: o, broker: broker, lastError: ErrNotConnected}
	if _, err := s.password(); err != nil {
		return nil, err
	}
	if _, err := s.tls(); err != nil {
		return nil, err
	}
	return s, nil
}

// Run keeps the subscription until ctx is done, and then returns nil. take is called for each payload, one at a time and in order;
// while it waits nothing else is read, and its ctx ends with the connection; its error means that the payload was not taken and
// must come again. up is called each time the subscription stands. Whatever goes wrong with the broker is logged and tried again
// after a pause, random from 1 s up to 2 s, 4 s, 8 s and so on to Options.LongestPause.
func (s *Subscriber) Run(ctx context.Context, take func(context.Context, Delivery) error, up func()) error {
	for failures := 0; ; failures++ {
		stood, err := s.serve(ctx, take, up)
		if ctx.Err() != nil {
			return nil
		}
		if stood >= stable {
			failures = 0
		}
		pause := pauseAfter(failures, s.options.LongestPause)
		s.options.Log.Warn("no connection to the broker", "broker", s.broker.Host, "error", err, "next_try", pause.Round(time.Millisecond))
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// pauseAfter returns how long to wait after so many failures in a row before this one.
func pauseAfter(failures int, longest time.Duration) time.Duration {
	bound := min(2*pauseShortest<<min(failures, 20), longest)
	low := min(pauseShortest, bound)
	return low + rand.N(bound-low+1)
}

// serve makes one connection and waits for its end, or ctx's. It returns for how long the subscription stood.
func (s *Subscriber) serve(ctx context.Context, take func(context.Context, Delivery) error, up func()) (stood time.Duration, err error) {
	defer func() { s.set(nil, err) }()
	connection, cancel := context.WithCancel(ctx)
	defer cancel()
	lost := make(chan error, 1)
	o, err := s.pahoOptions(connection, cancel, lost)
	if err != nil {
		return 0, err
	}
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		err := take(connection, Delivery{Topic: m.Topic(), Body: m.Payload(), Ack: m.Ack})
		if err != nil {
			s.options.Log.Debug("payload not taken", "topic", m.Topic(), "error", err)
		}
	})
	client := paho.NewClient(o)
	defer client.Disconnect(uint(quiesce / time.Millisecond))
	connect, ok := client.Connect().(*paho.ConnectToken)
	if !ok {
		return 0, fmt.Errorf("connect: paho returned another token than it documents")
	}
	if err := wait(ctx, connect); err != nil {
		return 0, fmt.Errorf("connect: %w", err)
	}
	if err := s.subscribe(ctx, client); err != nil {
		return 0, err
	}
	s.options.Log.Info("subscribed", "broker", s.broker.Host, "filter", s.options.Filter, "session_present", connect.SessionPresent())
	s.set(client, nil)
	began := time.Now()
	up()
	select {
	case err = <-lost:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return time.Since(began), err
}

// subscribe subscribes and checks that the broker grants it.
func (s *Subscriber) subscribe(ctx context.Context, client paho.Client) error {
	const refused = 0x80 // return code of a SUBACK (MQTT 3.1.1 section 3.9.3)
	token, ok := client.Subscribe(s.options.Filter, 1, nil).(*paho.SubscribeToken)
	if !ok {
		return fmt.Errorf("subscribe: paho returned another token than it documents")
	}
	if err := wait(ctx, token); err != nil {
		return fmt.Errorf("subscribe to %s: %w", s.options.Filter, err)
	}
	switch code, ok := token.Result()[s.options.Filter]; {
	case !ok || code == refused:
		return fmt.Errorf("subscribe to %s: the broker refuses it; allow %q to read there", s.options.Filter, s.options.User)
	case code != 1: // by QoS 0 payloads are lost without anybody knowing
		return fmt.Errorf("subscribe to %s: the broker grants QoS %d, want 1; let it grant %q QoS 1", s.options.Filter, code, s.options.User)
	}
	return nil
}

// wait waits for a token, at most connectTimeout.
func wait(ctx context.Context, t paho.Token) error {
	timer := time.NewTimer(connectTimeout)
	defer timer.Stop()
	select {
	case <-t.Done():
		return t.Error()
	case <-timer.C:
		return fmt.Errorf("no answer within %v", connectTimeout)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pahoOptions returns the options of one client. The connection that it dials calls ended when it is closed, which is before
// paho waits for what it has called.
func (s *Subscriber) pahoOptions(ctx context.Context, ended func(), lost chan<- error) (*paho.ClientOptions, error) {
	password, err := s.password()
	if err != nil {
		return nil, err
	}
	o := paho.NewClientOptions().AddBroker(s.broker.String()).SetClientID(s.options.ID).SetProtocolVersion(4).
		SetUsername(s.options.User).SetPassword(password).
		SetCleanSession(false).SetAutoReconnect(false).SetConnectRetry(false).SetStore(noStore{}).
		SetOrderMatters(true).SetAutoAckDisabled(true).
		SetKeepAlive(keepAlive).SetPingTimeout(pingTimeout).SetWriteTimeout(publishTimeout).SetConnectTimeout(connectTimeout)
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err })
	o.SetCustomOpenConnectionFn(s.dial(ctx, ended))
	return o, nil
}

// Publish publishes body to topic at QoS 1 and returns once it is on its way. It returns ErrNotConnected, or why it was not sent.
func (s *Subscriber) Publish(_ context.Context, topic string, body []byte, retain bool) error {
	s.mu.Lock()
	client := s.client
	s.mu.Unlock()
	if client == nil {
		return ErrNotConnected
	}
	token := client.Publish(topic, 1, retain, body)
	select {
	case <-token.Done():
		return token.Error()
	default:
		return nil
	}
}

// Failing returns why there is no subscription at present; nil = it stands.
func (s *Subscriber) Failing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lastError
}

func (s *Subscriber) set(client paho.Client, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client, s.lastError = client, err
}
