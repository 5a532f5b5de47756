package mqtt

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// maxPEM is how much of a certificate or key file is read, in bytes.
const maxPEM = 1 << 20

// LoadTLS reads the files of certificates and key (PEM) and returns settings for TLS 1.2 and up. ca holds the authorities that may
// have signed the broker's certificate, "" = the system's. cert and key are the gateway's own, both or neither; cert may hold
// intermediate certificates behind the first. serverName is the name that the broker's certificate must be for, "" = the host of
// its address. now is what the clock says: certificates that are not good then are refused; zero = the clock cannot be trusted, and
// they are not checked. Errors name file and remedy.
func LoadTLS(ca, cert, key, serverName string, now time.Time) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
	if ca != "" {
		pool, err := loadCA(ca, now)
		if err != nil {
			return nil, fmt.Errorf("load ca %s: %w", ca, err)
		}
		c.RootCAs = pool
	}
	switch {
	case cert != "" && key == "":
		return nil, fmt.Errorf("load cert %s: it has no key; set key to the file of its private key", cert)
	case cert == "" && key != "":
		return nil, fmt.Errorf("load key %s: it has no certificate; set cert to the file of its certificate", key)
	case cert != "":
		pair, err := loadPair(cert, key, now)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// readPEM reads a file that should hold PEM blocks of some kind.
func readPEM(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, reason(err)
	}
	if st.IsDir() {
		return nil, errors.New("it is a directory; name one file in PEM format")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(b) > maxPEM {
		return nil, fmt.Errorf("it has more than %d bytes; certificates and keys are smaller", maxPEM)
	}
	if !bytes.Contains(b, []byte("-----BEGIN ")) {
		return nil, errors.New("it is not in PEM format; convert it with openssl x509 -inform der, or openssl pkcs12")
	}
	return b, nil
}

// reason takes the file's name out of err, which the caller has given already, and adds what can be done.
func reason(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w; is the path right?", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w; let the gateway's user read it", err)
	}
	return err
}

func loadCA(name string, now time.Time) (*x509.CertPool, error) {
	b, err := readPEM(name)
	if err != nil {
		return nil, err
	}
	pool, found := x509.NewCertPool(), 0
	var old error
	for len(b) > 0 {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in it cannot be read: %w", found+1, err)
		}
		found++
		if err := valid(c, now); err != nil {
			old = err
			continue
		}
		pool.AddCert(c)
	}
	if found == 0 {
		return nil, errors.New("it holds no certificate; name the file of the authority that signed the broker's")
	}
	if old != nil && pool.Equal(x509.NewCertPool()) {
		return nil, old
	}
	return pool, nil
}

func loadPair(cert, key string, now time.Time) (tls.Certificate, error) {
	var none tls.Certificate
	c, err := readPEM(cert)
	if err != nil {
		return none, fmt.Errorf("load cert %s: %w", cert, err)
	}
	k, err := readPEM(key)
	if err != nil {
		return none, fmt.Errorf("load key %s: %w", key, err)
	}
	if bytes.Contains(k, []byte("ENCRYPTED")) {
		return none, fmt.Errorf("load key %s: it is encrypted; store it without a passphrase and readable by the gateway's user only", key)
	}
	pair, err := tls.X509KeyPair(c, k)
	if err != nil && strings.Contains(err.Error(), "does not match") {
		return none, fmt.Errorf("load cert %s with key %s: they do not belong together; "+
			"key must be the one that the certificate was requested with", cert, key)
	}
	if err != nil {
		return none, fmt.Errorf("load cert %s with key %s: %w", cert, key, err)
	}
	if err := valid(pair.Leaf, now); err != nil {
		return none, fmt.Errorf("load cert %s: %w", cert, err)
	}
	return pair, nil
}

// valid checks that c is good at the time now, unless that is zero.
func valid(c *x509.Certificate, now time.Time) error {
	switch {
	case now.IsZero():
		return nil
	case now.After(c.NotAfter):
		return fmt.Errorf("it expired on %s and it is %s now; renew it, or set this machine's clock",
			c.NotAfter.UTC().Format(time.DateOnly), now.UTC().Format(time.DateOnly))
	case now.Before(c.NotBefore):
		return fmt.Errorf("it is good from %s on and it is %s now; set this machine's clock",
			c.NotBefore.UTC().Format(time.DateOnly), now.UTC().Format(time.DateOnly))
	}
	return nil
}
