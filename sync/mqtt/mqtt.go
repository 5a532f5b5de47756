package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/tidegate-io/tidegate/sync/forward/uplink"
	"github.com/tidegate-io/tidegate/sync/profile"
)

// An Uplink is one connection to a broker. It is used by one goroutine, but for Status and Endpoint.
type Uplink struct {
	o        Options
	endpoint string
	topics   profile.Topics
	client   paho.Client
	guard    *guard
	sent     map[uint16]inFlight // by packet identifier
	proved   []uint16            // of those: PUBACK was read, the library did not complete the publish yet
	scratch  []uint16

	mu    sync.Mutex
	inbox [][]byte      // receipts that came
	came  chan struct{} // signalled (capacity 1) when inbox grew
}

// inFlight is a batch that was handed over.
type inFlight struct {
	batch uint64
	token paho.Token
}

var _ uplink.Uplink = (*Uplink)(nil)

// Open connects to the first broker of o that answers, subscribes to receipts and waits a second for retained ones. Errors name the remedy where there is one.
func Open(ctx context.Context, o Options) (*Uplink, error) {
	urls, err := o.check()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, addr := range urls {
		u, err := connect(ctx, o, addr)
		if err == nil {
			return u, nil
		}
		errs = append(errs, fmt.Errorf("connect to %s://%s: %w", addr.Scheme, addr.Host, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// connect makes a connection to one broker.
func connect(ctx context.Context, o Options, addr *url.URL) (*Uplink, error) {
	u := &Uplink{
		o: o, endpoint: addr.Scheme + "://" + addr.Host, topics: o.Profile.Topics(o.Gateway),
		sent: map[uint16]inFlight{}, came: make(chan struct{}, 1),
	}
	dctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := o.dial(dctx, addr)
	if err != nil {
		return nil, explain(err, addr)
	}
	u.guard = newGuard(raw)
	u.client = paho.NewClient(u.options())
	token := u.client.Connect()
	select {
	case <-token.Done():
	case <-dctx.Done():
		_ = u.guard.Close() // the library's handshake ends with it
		<-token.Done()
	}
	if err := token.Error(); err != nil {
		_ = u.guard.Close() // nothing to add to err
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case dctx.Err() != nil, isTimeout(err):
			return nil, fmt.Errorf("broker did not answer CONNECT within %v: is the port right?", connectTimeout)
		}
		return nil, u.refusal(token, err, addr)
	}
	if err := u.greet(ctx); err != nil {
		_ = u.guard.Close() // likewise
		if hungUp(err) {
			err = fmt.Errorf("%w; the broker hung up on client id %q: does another gateway use it?", err, o.ClientID)
		}
		return nil, err
	}
	return u, nil
}

// options are the library's settings. Each of those that are false by default here and true there loses records: a publish is
// reported as complete after a reconnect although it was never acknowledged.
func (u *Uplink) options() *paho.ClientOptions {
	once, alive := u.guard, u.o.Profile.KeepAlive
	if alive == 0 {
		alive = keepAlive
	}
	p := paho.NewClientOptions().
		AddBroker("mqtt://broker"). // not dialled, see below; an address with a zone is none that the library can parse
		SetClientID(u.o.ClientID).SetUsername(u.o.Username).SetPassword(u.o.Password).
		SetProtocolVersion(4). // 3.1.1 only, no falling back to 3.1
		SetAutoReconnect(false).SetConnectRetry(false).SetCleanSession(true).SetStore(noStore{}).
		SetKeepAlive(alive).SetPingTimeout(pingTimeout).SetConnectTimeout(connectTimeout).
		SetOrderMatters(true). // handlers never wait, so they may run where packets are read
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
			u.o.Log.Warn("broker sent something that was not asked for", "topic", m.Topic())
		})
	p.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		if once == nil {
			return nil, errors.New("one connection is all there is")
		}
		c := once
		once = nil
		return c, nil
	})
	if u.topics.Status != "" && u.o.Will != nil {
		p.SetBinaryWill(u.topics.Status, u.o.Will, 1, true)
	}
	return p
}

// greet subscribes and waits for what is retained.
func (u *Uplink) greet(ctx context.Context) error {
	if topic := u.topics.Receipt; topic != "" {
		token := u.client.Subscribe(topic, 1, u.take)
		if err := u.await(ctx, token.Done(), subackTimeout, "broker did not answer SUBSCRIBE"); err != nil {
			return err
		}
		if err := token.Error(); err != nil {
			return fmt.Errorf("subscribe to %s: %w", topic, err)
		}
		if code := token.(*paho.SubscribeToken).Result()[topic]; code > 2 {
			return fmt.Errorf("subscribe to %s: broker refused with code 0x%x; allow it in the broker's access list", topic, code)
		}
		if err := u.await(ctx, nil, retainedWait, ""); err != nil {
			return err
		}
	}
	return nil
}

// await waits for done, at most for d; after that it returns an error that says late, or none if late is "".
func (u *Uplink) await(ctx context.Context, done <-chan struct{}, d time.Duration, late string) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		if late != "" {
			return fmt.Errorf("%s within %v", late, d)
		}
	case <-u.guard.over:
		return u.lost()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// lost says that and why the connection is over.
func (u *Uplink) lost() error {
	return fmt.Errorf("connection to %s is lost: %w", u.endpoint, u.guard.ended())
}

// Endpoint returns the address of the broker, as scheme://host:port.
func (u *Uplink) Endpoint() string { return u.endpoint }

// Send publishes b with QoS 1 on its lane's topic.
func (u *Uplink) Send(ctx context.Context, b uplink.Batch) error {
	if u.guard.ended() != nil {
		return u.lost()
	}
	topic := u.topic(b.Lane)
	if topic == "" {
		return fmt.Errorf("%w: profile %s has no topic for lane %v", uplink.ErrRefused, u.o.Profile.Name, b.Lane)
	}
	for !u.guard.idle() { // else the library would block for 30 s where the broker does not read, whatever becomes of ctx
		select {
		case <-u.guard.wrote:
		case <-u.guard.over:
			return u.lost()
		case <-ctx.Done():
			return fmt.Errorf("publish: %w", ctx.Err())
		}
	}
	u.prove() // PUBACKs that came before this publish are none for it
	token := u.publish(topic, false, b.Payload)
	if err := u.failed(token); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	u.sent[token.(*paho.PublishToken).MessageID()] = inFlight{batch: b.ID, token: token}
	return nil
}

// topic returns where batches of lane l go; "" = nowhere.
func (u *Uplink) topic(l uplink.Lane) string {
	switch l {
	case uplink.LaneData:
		return u.topics.Data
	case uplink.LaneBackfill:
		return u.topics.Backfill
	case uplink.LaneAlarm:
		return u.topics.Alarm
	case uplink.LaneAudit:
		return u.topics.Audit
	}
	return ""
}

// Status publishes a retained status. It may be called from any goroutine; it does not wait for the broker's answer. While the broker
// does not read, nothing is published: the library would block for 30 s, and the next status is newer.
func (u *Uplink) Status(payload []byte) error {
	if u.topics.Status == "" || !u.guard.idle() {
		return nil
	}
	token := u.publish(u.topics.Status, true, payload)
	if err := u.failed(token); err != nil {
		return fmt.Errorf("publish status: %w", err)
	}
	return nil
}

// publish hands a payload to the library.
func (u *Uplink) publish(topic string, retained bool, payload []byte) paho.Token {
	u.guard.queue(1)
	return u.client.Publish(topic, 1, retained, payload)
}

// failed returns the error of a publish that has ended already, with the cause where the connection is over.
func (u *Uplink) failed(token paho.Token) error {
	select {
	case <-token.Done():
	default:
		return nil
	}
	if err := token.Error(); err == nil || u.guard.ended() == nil {
		return err
	}
	return u.lost()
}

// Close publishes the will as status, so that it need not be sent by the broker, and ends the connection.
func (u *Uplink) Close() error {
	if u.guard.ended() == nil && u.guard.idle() && u.o.Will != nil && u.topics.Status != "" {
		// A write that hangs must not hold this up.
		if err := u.guard.SetWriteDeadline(time.Now().Add(farewell)); err == nil {
			u.publish(u.topics.Status, true, u.o.Will).WaitTimeout(farewell)
		}
	}
	u.client.Disconnect(quiesce)
	if err := u.guard.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close connection: %w", err)
	}
	return nil
}

// noStore keeps nothing: the queue is the only store.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Close()                            {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Reset()                            {}
