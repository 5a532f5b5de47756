package mqtt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/forward/uplink"
)

// embedded runs a broker of others in the test's bubble.
func embedded(t *testing.T) (*mochi.Server, func(context.Context, string, string) (net.Conn, error)) {
	t.Helper()
	s := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	return s, func(context.Context, string, string) (net.Conn, error) {
		near, away := net.Pipe()
		go s.EstablishConnection("pipe", away)
		return near, nil
	}
}

func TestRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := embedded(t)
		defer s.Close()
		var got []string
		if err := s.Subscribe("tg/v1/gw-1/up/#", 1, func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
			got = append(got, fmt.Sprintf("%s %s", p.TopicName, p.Payload))
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Publish("tg/v1/gw-1/down/receipt", []byte(`{"ep":"ep1","upto":7,"holes":[[2,3]]}`), true, 1); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		u := mustOpen(t, options(t, dial))
		if took := time.Since(began); took != time.Second {
			t.Errorf("Open took %v, want 1 s for retained receipts", took)
		}
		wake := make(chan struct{}, 1)
		wake <- struct{}{}
		cs, err := u.Confirmed(context.Background(), wake)
		if err != nil || len(cs) != 1 || cs[0].Epoch != "ep1" || cs[0].Upto != 7 || fmt.Sprint(cs[0].Holes) != "[{2 3}]" {
			t.Fatalf("Confirmed = %+v, %v; want the retained receipt first", cs, err)
		}
		if cs, err = u.Confirmed(context.Background(), wake); err != nil || len(cs) != 0 || len(wake) != 0 {
			t.Fatalf("Confirmed = %+v, %v; want nothing, woken", cs, err)
		}
		for i, l := range []uplink.Lane{uplink.LaneData, uplink.LaneBackfill, uplink.LaneAlarm, uplink.LaneAudit} {
			b := uplink.Batch{ID: uint64(i + 1), Lane: l, Payload: []byte(l.String()), Records: tidegate.Ranges{{First: 1, Last: 1}}}
			if err := u.Send(context.Background(), b); err != nil {
				t.Fatal(err)
			}
		}
		ids, err := confirmed(u, 4, time.Minute)
		if err != nil || fmt.Sprint(ids) != "[1 2 3 4]" {
			t.Errorf("confirmed %v, %v", ids, err)
		}
		if err := u.Send(context.Background(), uplink.Batch{ID: 9, Lane: 77}); !errors.Is(err, uplink.ErrRefused) {
			t.Errorf("a lane without topic: %v, want it refused", err)
		}
		time.Sleep(30 * time.Minute) // keep-alive holds the connection
		send(t, u, 5, 1)
		if ids, err := confirmed(u, 1, time.Minute); err != nil || len(ids) != 1 {
			t.Errorf("half an hour later: confirmed %v, %v", ids, err)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		want := strings.Join([]string{
			`up/status {"online":true}`, "up/data data", "up/backfill backfill", "up/alarm alarm",
			"up/audit audit", "up/data batch 5", `up/status {"online":false}`,
		}, "\n")
		if have := strings.ReplaceAll(strings.Join(got, "\n"), "tg/v1/gw-1/", ""); have != want {
			t.Errorf("broker got\n%s\nwant\n%s", have, want)
		}
	})
}

// TestWill: a connection that is lost is announced by the broker.
func TestWill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := embedded(t)
		defer s.Close()
		u := mustOpen(t, options(t, dial))
		u.guard.Conn.Close()
		time.Sleep(time.Second)
		if _, err := u.Confirmed(context.Background(), nil); err == nil ||
			err.Error() != "connection to mqtt://broker.example:1883 is lost: io: read/write on closed pipe" {
			t.Errorf("Confirmed: %v", err)
		}
		if err := u.Send(context.Background(), uplink.Batch{ID: 1}); err == nil {
			t.Error("Send on a lost connection: no error")
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
		retained := s.Topics.Messages("tg/v1/gw-1/up/status")
		if len(retained) != 1 || string(retained[0].Payload) != `{"online":false}` {
			t.Errorf("retained status %v", retained)
		}
	})
}

func TestNothingIsConfirmedWithoutItsAcknowledgement(t *testing.T) {
	table := []struct {
		name   string
		answer func(c net.Conn, p packet, n int)
		want   string // IDs
		err    string
	}{
		{"broker that never acknowledges", func(net.Conn, packet, int) {}, "[]", ""},
		{"broker that acknowledges other identifiers", func(c net.Conn, p packet, _ int) {
			id := p.id()
			c.Write([]byte{0x40, 2, id[0] + 40, id[1]})
		}, "[]", ""},
		{"broker that acknowledges everything before it came", func(c net.Conn, _ packet, n int) {
			for i := byte(1); n == 1 && i < 100; i++ {
				c.Write([]byte{0x40, 2, 0, i})
			}
		}, "[1]", ""},
		{"broker that acknowledges the first and repeats that", func(c net.Conn, p packet, n int) {
			if n == 1 {
				ack(c, p)
				ack(c, p)
				ack(c, p)
			}
		}, "[1]", ""},
		{"broker that acknowledges in reverse", func() func(c net.Conn, p packet, n int) {
			var all []packet
			return func(c net.Conn, p packet, n int) {
				all = append(all, p)
				for i := len(all) - 1; n == 5 && i >= 0; i-- {
					ack(c, all[i])
				}
			}
		}(), "[5 4 3 2 1]", ""},
		{"broker that cuts before the acknowledgement", func(c net.Conn, p packet, n int) {
			if n == 3 {
				c.Close()
				return
			}
			ack(c, p)
		}, "[1 2]", "connection to mqtt://broker.example:1883 is lost: EOF"},
		{"broker that cuts after the acknowledgement", func(c net.Conn, p packet, n int) {
			ack(c, p)
			if n == 3 {
				c.Close()
			}
		}, "[1 2 3]", "connection to mqtt://broker.example:1883 is lost: EOF"},
		{"broker that answers a publish by SUBACK", func(c net.Conn, p packet, _ int) {
			c.Write(append([]byte{0x90, 3}, append(p.id(), 1)...))
		}, "[]", "connection to mqtt://broker.example:1883 is lost: broker sent a second SUBACK, want one"},
		{"broker that answers a publish by PUBCOMP", func(c net.Conn, p packet, _ int) {
			c.Write(append([]byte{0x70, 2}, p.id()...))
		}, "[]", "connection to mqtt://broker.example:1883 is lost: broker sent a packet of type 7, which is not for clients like this"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &script{answer: c.answer}
				u := mustOpen(t, options(t, b.dial))
				for i := range 5 { // a batch at a time: a cut ends it
					err := u.Send(context.Background(), uplink.Batch{ID: uint64(i + 1), Payload: []byte("x")})
					if err != nil {
						break
					}
					synctest.Wait()
				}
				ids, err := confirmed(u, 99, 20*time.Second)
				if got := fmt.Sprint(ids); got != c.want {
					t.Errorf("confirmed %s, want %s", got, c.want)
				}
				if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
					t.Errorf("ended with %v, want %q", err, c.err)
				}
				if err := u.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestFalseAcknowledgement is the trap of the library: with AutoReconnect it completes the token of a publish without error as soon
// as it is connected again, although no PUBACK ever came.
func TestFalseAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{answer: func(c net.Conn, _ packet, _ int) { c.Close() }}
		u := mustOpen(t, options(t, b.dial))
		// Handed over whatever becomes of it: the connection may be gone before Send returns.
		if err := u.Send(context.Background(), uplink.Batch{ID: 1, Payload: []byte("x")}); err != nil {
			t.Log(err)
		}
		var token interface{ Error() error }
		for _, fl := range u.sent {
			token = fl.token
		}
		ids, err := confirmed(u, 1, 30*time.Second)
		if len(ids) != 0 || err == nil {
			t.Errorf("confirmed %v, %v; want nothing and an error", ids, err)
		}
		time.Sleep(time.Minute)
		if b.conns != 1 {
			t.Errorf("%d connections were made, want 1", b.conns)
		}
		if token == nil {
			return
		}
		if err := token.Error(); err == nil || err.Error() != "connection lost before Publish completed" {
			t.Errorf("the library says of the publish: %v", err)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestBrokerThatBreaksTheProtocol(t *testing.T) {
	huge := []byte{0x30, 0xff, 0xff, 0xff, 0x7f}
	table := []struct {
		name string
		send []byte
		want string
	}{
		{"packet of 256 MB", huge, "broker sent a packet of 268435460 bytes, at most 262144 are taken"},
		{"length of five bytes", []byte{0x30, 0xff, 0xff, 0xff, 0xff, 0x7f}, "broker sent a packet whose length has more than 4 bytes: 30ffffffff"},
		{"QoS 3", []byte{0x36, 5, 0, 1, 'a', 0, 1}, "broker sent a packet of QoS 3, at most 1 was asked for"},
		{"QoS 2", []byte{0x34, 5, 0, 1, 'a', 0, 1}, "broker sent a packet of QoS 2, at most 1 was asked for"},
		{"SUBACK with two codes", []byte{0x90, 4, 0, 1, 1, 1}, "broker sent a packet of type 9 with 4 bytes, want 3"},
		{"PUBACK without identifier", []byte{0x40, 0}, "broker sent a packet of type 4 with 0 bytes, want 2"},
		{"PUBACK with flags", []byte{0x42, 2, 0, 1}, "broker sent a packet of type 4 with flags 2, want 0"},
		{"CONNACK again", []byte{0x20, 2, 0, 0}, "broker sent a packet of type 2 as number 4, want CONNACK first and only first"},
		{"CONNECT", []byte{0x10, 0}, "broker sent a packet of type 1, which is not for clients like this"},
		{"type 0", []byte{0, 0}, "broker sent a packet of type 0, which is not for clients like this"},
		{"PUBREL", []byte{0x62, 2, 0, 1}, "broker sent a packet of type 6, which is not for clients like this"},
	}
	for _, c := range table {
		for _, piece := range []int{1, 3, 99} {
			t.Run(fmt.Sprint(c.name, " in pieces of ", piece), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := &script{answer: func(conn net.Conn, _ packet, _ int) {
						for rest := c.send; len(rest) > 0; {
							n := min(piece, len(rest))
							if _, err := conn.Write(rest[:n]); err != nil {
								return
							}
							rest = rest[n:]
						}
					}}
					o := options(t, b.dial)
					u := mustOpen(t, o)
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					sendErr := u.Send(context.Background(), uplink.Batch{ID: 1, Payload: []byte("x")})
					ids, err := confirmed(u, 1, time.Second)
					if sendErr != nil {
						err = errors.Unwrap(sendErr)
					}
					runtime.ReadMemStats(&after)
					want := "connection to mqtt://broker.example:1883 is lost: " + c.want
					if len(ids) != 0 || err == nil || err.Error() != want {
						t.Errorf("confirmed %v, %v; want %q", ids, err, want)
					}
					if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
						t.Errorf("%d bytes were allocated", grown)
					}
					if err := u.Close(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

func TestOpenSaysWhatToDo(t *testing.T) {
	connack := func(code byte) func(o *Options, b *script) {
		return func(_ *Options, b *script) { b.connack = []byte{0x20, 2, 0, code} }
	}
	table := []struct {
		name   string
		change func(o *Options, b *script)
		want   string
	}{
		{"no address", func(o *Options, _ *script) { o.URLs = nil }, "connect to broker: no address is given"},
		{
			"scheme of another kind", func(o *Options, _ *script) { o.URLs = []string{"http://a"} },
			`broker address "http://a": got scheme "http", want mqtt, mqtts, ws or wss`,
		},
		{
			"no host", func(o *Options, _ *script) { o.URLs = []string{"mqtt://:1883"} },
			`broker address "mqtt://:1883": it names no host; write it like mqtts://broker.example.org:8883`,
		},
		{
			"password in the address", func(o *Options, _ *script) { o.URLs = []string{"mqtt://me:secret@a"} },
			"broker address of host a: it contains a user name; use username and password_file",
		},
		{
			"path without WebSocket", func(o *Options, _ *script) { o.URLs = []string{"mqtt://a/mqtt"} },
			`broker address "mqtt://a/mqtt": it contains a path "/mqtt", which only ws and wss have`,
		},
		{"protocol", connack(1), "connect to mqtt://broker.example:1883: broker does not speak MQTT 3.1.1"},
		{"client id", connack(2), `connect to mqtt://broker.example:1883: broker does not accept the client id "gw-1": ` +
			"is it allowed there, and does no other gateway use it?"},
		{"not available", connack(3), "connect to mqtt://broker.example:1883: broker says that it is not available now"},
		{"password", connack(4), `connect to mqtt://broker.example:1883: broker does not accept user name "" with this password: ` +
			"check username and password_file"},
		{"not authorised", connack(5), `connect to mqtt://broker.example:1883: broker does not allow client id "gw-1" (user name "") ` +
			"to connect: check username and password_file, the client certificate and the broker's access list"},
		{
			"code that does not exist", connack(6),
			"connect to mqtt://broker.example:1883: broker answered CONNECT with code 6, which MQTT 3.1.1 does not have",
		},
		{
			"code of the library's own", connack(0xfe),
			"connect to mqtt://broker.example:1883: broker answered CONNECT with code 254, which MQTT 3.1.1 does not have",
		},
		{
			"subscription refused", func(_ *Options, b *script) { b.suback = 0x80 },
			"connect to mqtt://broker.example:1883: subscribe to tg/v1/gw-1/down/receipt: broker refused with code 0x80; " +
				"allow it in the broker's access list",
		},
		{"both of two addresses", func(o *Options, _ *script) {
			o.URLs = []string{"mqtt://a", "ws://b/mqtt"}
			o.Dial = func(_ context.Context, _, addr string) (net.Conn, error) {
				return nil, fmt.Errorf("dial %s: no route to host", addr)
			}
		}, "connect to mqtt://a:1883: dial a:1883: no route to host\n" +
			"connect to ws://b:80: open WebSocket: dial b:80: no route to host"},
		{"broker that hangs up", func(o *Options, _ *script) {
			o.Dial = func(context.Context, string, string) (net.Conn, error) {
				near, away := net.Pipe()
				go func() { readPacket(bufio.NewReader(away)); away.Close() }()
				return near, nil
			}
		}, "connect to mqtt://broker.example:1883: EOF; the broker hung up: does this port want TLS (mqtts:// or wss://)?"},
		{"WebSocket whose headers never end", func(o *Options, _ *script) {
			o.URLs = []string{"ws://b/mqtt"}
			o.Dial = func(context.Context, string, string) (net.Conn, error) {
				near, away := net.Pipe()
				go func() {
					go func() { _, _ = io.Copy(io.Discard, away) }()
					_, err := io.WriteString(away, "HTTP/1.1 101 Switching Protocols\r\n")
					for sent := 0; err == nil && sent < 64<<20; sent += 4096 {
						_, err = io.WriteString(away, "X: "+strings.Repeat("y", 4091)+"\r\n")
					}
					away.Close()
				}()
				return near, nil
			}
		}, "connect to ws://b:80: open WebSocket: the answer has more than 262144 bytes"},
		{"broker that never answers", func(o *Options, _ *script) {
			o.Dial = func(context.Context, string, string) (net.Conn, error) {
				near, away := net.Pipe()
				go io.Copy(io.Discard, away)
				return near, nil
			}
		}, "connect to mqtt://broker.example:1883: broker did not answer CONNECT within 15s: is the port right?"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &script{}
				o := options(t, b.dial)
				c.change(&o, b)
				u, err := Open(context.Background(), o)
				if err == nil {
					u.Close()
					t.Fatalf("no error, want %q", c.want)
				}
				if err.Error() != c.want {
					t.Errorf("got  %q\nwant %q", err, c.want)
				}
				time.Sleep(time.Minute)
			})
		})
	}
}

func TestFailOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{}
		o := options(t, func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == "first:1883" {
				return nil, errors.New("connection refused")
			}
			return b.dial(ctx, network, addr)
		})
		o.URLs = []string{"mqtt://first", "mqtt://second:1884"}
		u := mustOpen(t, o)
		if u.Endpoint() != "mqtt://second:1884" {
			t.Errorf("connected to %s", u.Endpoint())
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOpenIsGivenUp when ctx is done, at each stage.
func TestOpenIsGivenUp(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, 500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			b := &script{}
			o := options(t, b.dial)
			if after < 100*time.Millisecond {
				o.Dial = func(context.Context, string, string) (net.Conn, error) {
					near, away := net.Pipe()
					go io.Copy(io.Discard, away)
					return near, nil
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), after)
			defer cancel()
			began := time.Now()
			_, err := Open(ctx, o)
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != after {
				t.Errorf("Open: %v after %v", err, time.Since(began))
			}
			time.Sleep(time.Minute) // all goroutines end, or the bubble complains
		})
	}
}

// TestSendEndsWithItsContext although the far side does not read.
func TestSendEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		b := &script{answer: func(net.Conn, packet, int) { <-stuck }}
		u := mustOpen(t, options(t, b.dial))
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		began := time.Now()
		var err error
		for i := uint64(1); i < 10 && err == nil; i++ { // a few fit between here and there
			err = u.Send(ctx, uplink.Batch{ID: i, Payload: []byte("x")})
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Send: %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("Send took %v", took)
		}
		close(stuck)
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestStatusDoesNotHang although the far side does not read.
func TestStatusDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		b := &script{answer: func(net.Conn, packet, int) { <-stuck }}
		u := mustOpen(t, options(t, b.dial))
		send(t, u, 1, 2)
		synctest.Wait()
		began := time.Now()
		for range 3 {
			if err := u.Status([]byte(`{"online":true}`)); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("Status took %v", took)
		}
		close(stuck)
		time.Sleep(time.Second)
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
}

// zoned is a connection to an address with a zone.
type zoned struct{ net.Conn }

func (zoned) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 1883, Zone: "eth0"}
}

// TestAddressWithZone: the library is given no address, it could not parse this one.
func TestAddressWithZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &script{}
		o := options(t, func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := b.dial(ctx, network, address)
			return zoned{c}, err
		})
		o.URLs = []string{"mqtt://[fe80::1%25eth0]"}
		if err := mustOpen(t, o).Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestCloseDoesNotHang although the far side does not read.
func TestCloseDoesNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		b := &script{answer: func(net.Conn, packet, int) { <-stuck }}
		u := mustOpen(t, options(t, b.dial))
		send(t, u, 1, 2)
		began := time.Now()
		if err := u.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("Close took %v", took)
		}
		close(stuck)
		time.Sleep(time.Minute)
	})
}

func TestReceiptsThatAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := embedded(t)
		defer s.Close()
		u := mustOpen(t, options(t, dial))
		for _, body := range []string{
			"", "{", `{"ep":"a","upto":-1,"holes":[]}`, strings.Repeat("x", 20000),
			`{"ep":"ep1","upto":5,"holes":[]}`,
		} {
			if err := s.Publish("tg/v1/gw-1/down/receipt", []byte(body), false, 1); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		cs, err := u.Confirmed(context.Background(), nil)
		if err != nil || len(cs) != 1 || cs[0].Upto != 5 {
			t.Errorf("Confirmed = %+v, %v", cs, err)
		}
		for i := range 1000 { // more than are kept: the last ones count
			if err := s.Publish("tg/v1/gw-1/down/receipt", fmt.Appendf(nil, `{"ep":"ep1","upto":%d,"holes":[]}`, i+1), false, 1); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		cs, err = u.Confirmed(context.Background(), nil)
		if err != nil || len(cs) != maxReceipts || cs[len(cs)-1].Upto != 1000 {
			t.Errorf("Confirmed: %d receipts, %v", len(cs), err)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
}
