package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// refusal says in words why a connection was not made: the return codes of CONNACK (MQTT 3.1.1 section 3.2.2.3) with the remedy.
func (u *Uplink) refusal(token paho.Token, err error, addr *url.URL) error {
	var code byte
	if t, ok := token.(*paho.ConnectToken); ok {
		code = t.ReturnCode()
	}
	switch code {
	case packets.ErrRefusedBadProtocolVersion:
		return errors.New("broker does not speak MQTT 3.1.1")
	case packets.ErrRefusedIDRejected:
		return fmt.Errorf("broker does not accept the client id %q: is it allowed there, and does no other gateway use it?", u.o.ClientID)
	case packets.ErrRefusedServerUnavailable:
		return errors.New("broker says that it is not available now")
	case packets.ErrRefusedBadUsernameOrPassword:
		return fmt.Errorf("broker does not accept user name %q with this password: check username and password_file", u.o.Username)
	case packets.ErrRefusedNotAuthorised:
		return fmt.Errorf("broker does not allow client id %q (user name %q) to connect: check username and password_file, "+
			"the client certificate and the broker's access list", u.o.ClientID, u.o.Username)
	}
	if cause := u.guard.ended(); cause != nil && !errors.Is(cause, net.ErrClosed) {
		err = cause // the library wraps it beyond recognition
	}
	return explain(err, addr)
}

// explain adds what can be done about err.
func explain(err error, addr *url.URL) error {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
		dns     *net.DNSError
	)
	hint := ""
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = validity(invalid.Cert)
	case errors.As(err, &unknown):
		hint = "set ca to the file of the authority that signed the broker's certificate"
	case errors.As(err, &name):
		hint = fmt.Sprintf("the broker's certificate is for another name than %s: use that name in the address", addr.Hostname())
	case isAlert(err):
		hint = alertHint(err)
	case errors.As(err, &dns) && dns.IsNotFound:
		hint = "no such host: check the address and this machine's DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = "nothing listens there: is the broker running, and the port right?"
	case errors.As(err, &record), hungUp(err) && (addr.Scheme == "mqtts" || addr.Scheme == "wss"):
		hint = "does the broker speak TLS on this port? Use mqtt:// or ws://, or the port for TLS (often 8883)"
	case hungUp(err):
		hint = "the broker hung up: does this port want TLS (mqtts:// or wss://)?"
	case isTimeout(err):
		hint = "nothing answers there: are address and port right, and open in the firewall?"
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, hint)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// validity says when a certificate is good, and what this machine takes for now.
func validity(c *x509.Certificate) string {
	const day = time.DateOnly
	return fmt.Sprintf("the broker's certificate is good from %s to %s, and this machine's clock says %s: renew it, or set the clock",
		c.NotBefore.UTC().Format(day), c.NotAfter.UTC().Format(day), time.Now().UTC().Format(day))
}

// hungUp reports whether the far side closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isAlert reports whether the far side ended TLS with an alert (RFC 8446 section 6.2).
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// alertHint explains the alerts that concern our side. The alert's number is not to be had from crypto/tls, only its text.
func alertHint(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "certificate required"):
		return "the broker wants a client certificate: set cert and key"
	case strings.Contains(text, "certificate"), strings.Contains(text, "error decrypting"):
		return "the broker does not accept the client certificate: has it expired, and did the broker's authority sign it?"
	case strings.Contains(text, "handshake failure"), strings.Contains(text, "protocol version"):
		return "the broker and this gateway have no TLS version or cipher in common, or it wants a client certificate (cert and key)"
	}
	return "the broker ended the TLS handshake; its log says why"
}
