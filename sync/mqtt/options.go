// Package mqtt is the uplink over MQTT 3.1.1 (OASIS standard, 29 October 2014): one connection of one client, made by Open, gone
// with its first error. What counts as confirmed is a PUBACK that was read from this very connection, and nothing else: the
// library reports publishes as complete in other cases too.
//
// It knows topics and TLS, but no queue, no retries and no record.
package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/tidegate-io/tidegate/sync/profile"
)

// What a connection keeps to.
const (
	keepAlive      = 30 * time.Second       // a ping when nothing went or came for so long; where the profile says nothing
	pingTimeout    = 10 * time.Second       // for its answer
	connectTimeout = 15 * time.Second       // for TCP, TLS and CONNACK together
	userTimeout    = 30 * time.Second       // for TCP to get bytes acknowledged (TCP_USER_TIMEOUT)
	subackTimeout  = 15 * time.Second       // for the answer to SUBSCRIBE
	retainedWait   = time.Second            // for retained receipts, from the SUBACK on
	proofWait      = time.Second            // for the library to catch up with a PUBACK that was read
	farewell       = 500 * time.Millisecond // for the last status
	alertWait      = 200 * time.Millisecond // for the reason why the broker hung up on CONNECT
	quiesce        = 250                    // ms for DISCONNECT
	maxReceipt     = 16 << 10               // bytes of a receipt: 64 holes need less than 4 KiB
	maxReceipts    = 64                     // receipts that wait to be taken; then the oldest goes
)

// Options say what to connect to, and as whom.
type Options struct {
	URLs     []string        // mqtt://host[:1883], mqtts://host[:8883], ws://host[:80]/path, wss://host[:443]/path; the first that answers
	ClientID string          //
	Username string          // "" = none
	Password string          //
	TLS      *tls.Config     // for mqtts and wss; see LoadTLS. nil = the system's authorities, no client certificate
	Profile  profile.Profile // topics, keep-alive
	Gateway  string          // id
	Will     []byte          // status that the broker publishes when the connection is lost, and Close when it is not; nil = none
	Log      *slog.Logger    // default: none

	// Dial opens a TCP connection; default: with TCP_USER_TIMEOUT.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// defaultPorts by scheme.
var defaultPorts = map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}

// ParseURL checks the address of a broker and fills in the port that it leaves out.
func ParseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("parse broker address: %w", err)
	}
	port, known := defaultPorts[u.Scheme]
	switch {
	case !known:
		return nil, fmt.Errorf("broker address %q: got scheme %q, want mqtt, mqtts, ws or wss", s, u.Scheme)
	case u.Hostname() == "":
		return nil, fmt.Errorf("broker address %q: it names no host; write it like mqtts://broker.example.org:8883", s)
	case u.User != nil:
		return nil, fmt.Errorf("broker address of host %s: it contains a user name; use username and password_file", u.Hostname())
	case (u.Scheme == "mqtt" || u.Scheme == "mqtts") && u.Path != "" && u.Path != "/":
		return nil, fmt.Errorf("broker address %q: it contains a path %q, which only ws and wss have", s, u.Path)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return u, nil
}

// check fills in what is left out and returns the parsed addresses.
func (o *Options) check() ([]*url.URL, error) {
	if len(o.URLs) == 0 {
		return nil, errors.New("connect to broker: no address is given")
	}
	if o.Profile.Topics == nil {
		return nil, errors.New("connect to broker: no profile is given")
	}
	urls := make([]*url.URL, 0, len(o.URLs))
	for _, s := range o.URLs {
		u, err := ParseURL(s)
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		d := &net.Dialer{Timeout: connectTimeout, Control: limitUnacked}
		o.Dial = d.DialContext
	}
	return urls, nil
}
