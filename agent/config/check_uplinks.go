package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/sync/profile"
)

// ways are the ways to a far side, by the scheme of the address: whether it is encrypted, and whether a path may follow.
var ways = map[string]struct{ tls, path bool }{"mqtt": {}, "mqtts": {tls: true}, "ws": {path: true}, "wss": {tls: true, path: true}}

// checkUplinks moves Uplink to Uplinks and checks them.
func (c *checker) checkUplinks() {
	base := "uplinks"
	if u := c.cfg.Uplink; u != nil {
		if c.Given("uplinks") {
			c.Add("uplinks", bothUplinks, "", "write all under uplinks")
		}
		base = "uplink"
		c.cfg.Uplink, c.cfg.Uplinks = nil, []Uplink{*u}
	}
	names := map[string]int{}
	for i := range c.cfg.Uplinks {
		u, path := &c.cfg.Uplinks[i], base
		if base == "uplinks" {
			path += "[" + strconv.Itoa(i) + "]"
		}
		if u.Name == "" {
			u.Name = "uplink"
		}
		if c.name(path+".name", u.Name, badUplink) {
			if first, twice := names[u.Name]; twice {
				c.Add(path+".name", uplinkTwice, u.Name, "give each uplink a name of its own", first)
			} else {
				names[u.Name] = i
			}
		}
		c.checkUplink(path, u)
	}
}

func (c *checker) checkUplink(path string, u *Uplink) {
	encrypted, open := c.checkURLs(path, u)
	if names := profile.Names(); u.Profile != "" && !slices.Contains(names, u.Profile) {
		c.Add(path+".profile", badProfile, strict.Show(u.Profile), strict.DidYouMean(u.Profile, names, "profiles are "+strings.Join(names, ", ")))
	}
	for _, f := range [...]struct{ key, file string }{{"ca", u.CA}, {"cert", u.Cert}, {"key", u.Key}} {
		if f.file != "" && !encrypted {
			c.Add(path+"."+f.key, tlsUnused, strict.Show(f.file), "write the address with mqtts:// or wss://, or leave the key out")
		}
	}
	c.checkPassword(path, u, open)
	c.checkCA(path+".ca", u.CA)
	cert, hasCert := c.file(path+".cert", u.Cert, strict.Public)
	key, hasKey := c.file(path+".key", u.Key, strict.Secret)
	switch {
	case u.Cert != "" && u.Key == "":
		c.Add(path+".cert", keyMissing, strict.Show(u.Cert), "name its key at key")
	case u.Key != "" && u.Cert == "":
		c.Add(path+".key", certMissing, strict.Show(u.Key), "name its certificate at cert")
	case hasCert && hasKey:
		c.checkPair(path, u, cert, key)
	}
}

// file reads the file that is named at key, or notes why it is not used; ok is false then, and when none is named.
func (c *checker) file(key, path string, kind strict.Kind) (text []byte, ok bool) {
	return c.fileOr(c.Refuse, key, path, kind)
}

// fileOr is file with another way to note what is wrong with the file.
func (c *checker) fileOr(refuse func(key string, r *strict.Refusal), key, path string, kind strict.Kind) (text []byte, ok bool) {
	if path == "" || c.upwards(key, path) {
		return nil, false
	}
	text, refusal := strict.ReadFile(path, kind, strict.MaxBytes)
	if refusal != nil {
		refuse(key, refusal)
		return nil, false
	}
	return text, true
}

// checkPassword checks user name and password; open = an address without TLS leads beyond this machine.
func (c *checker) checkPassword(path string, u *Uplink, open bool) {
	text, ok := c.file(path+".password_file", u.PasswordFile, strict.Secret)
	if ok && strings.TrimSpace(string(text)) == "" {
		c.Add(path+".password_file", emptySecret, strict.Show(u.PasswordFile), "write the password into it, as its only line")
	}
	if u.PasswordFile != "" && u.Username == "" {
		c.Add(path+".password_file", noPasswordOf, strict.Show(u.PasswordFile), "write username too")
	}
	if u.PasswordFile != "" && open {
		c.Warn(path+".password_file", passwordOpen, "", "write the address with mqtts:// or wss://")
	}
}

// checkCA checks the file of certificates that is named at key.
func (c *checker) checkCA(key, path string) {
	if text, ok := c.file(key, path, strict.Public); ok && !x509.NewCertPool().AppendCertsFromPEM(text) {
		c.Add(key, noCA, strict.Show(path), "it must hold certificates in PEM: -----BEGIN CERTIFICATE-----", errors.New("no PEM block that is a certificate"))
	}
}

// checkPair checks a certificate and its key.
func (c *checker) checkPair(path string, u *Uplink, cert, key []byte) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		cause := strings.TrimPrefix(err.Error(), "tls: ")
		for _, f := range [...]struct {
			key  string
			text []byte
		}{{"cert", cert}, {"key", key}} {
			if block, _ := pem.Decode(f.text); block == nil {
				cause = "no PEM block in the file named at " + f.key
			}
		}
		c.Add(path+".cert", badPair, strict.Show(u.Cert), "name the certificate that was made for this key, and that key, in PEM", cause)
		return
	}
	leaf := pair.Leaf
	if c.now.Before(leaf.NotBefore) || c.now.After(leaf.NotAfter) {
		c.Warn(path+".cert", certDates, strict.Show(u.Cert), "renew it, or set the clock if that is wrong",
			leaf.NotBefore.UTC().Format(time.DateOnly), leaf.NotAfter.UTC().Format(time.DateOnly))
	}
}

// checkURLs checks the addresses. encrypted = all of them use TLS, as far as is known; open = one does not and leads beyond this
// machine.
func (c *checker) checkURLs(path string, u *Uplink) (encrypted, open bool) {
	list := map[string]string{}
	for i, s := range u.URLs {
		list[path+".urls["+strconv.Itoa(i)+"]"] = s
		if slices.Index(u.URLs, s) < i {
			c.Add(path+".urls["+strconv.Itoa(i)+"]", urlTwice, showURL(s), "name each once")
		}
	}
	if u.URL != "" {
		list[path+".url"] = u.URL
		if len(u.URLs) > 0 {
			c.Add(path+".urls", bothURLs, "", "write all under urls")
		}
	} else if len(u.URLs) == 0 && !c.Faulty(path+".urls") {
		c.Add(path, noURL, "", "write url: mqtt://host:1883")
	}
	encrypted = true
	for key, s := range list {
		parsed, ok := c.checkURL(key, s)
		if ok && !ways[parsed.Scheme].tls {
			encrypted, open = false, open || !isLocal(parsed.Hostname())
		}
	}
	return encrypted, open
}

// isLocal reports whether a host is this machine by its name alone.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// showURL shows an address without what might be a secret.
func showURL(s string) string {
	if u, err := url.Parse(s); err == nil && u.User != nil {
		u.User = url.User("...")
		return strict.Show(u.String())
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return strict.Show("..." + s[i:])
	}
	return strict.Show(s)
}

// checkURL checks the address s at key.
func (c *checker) checkURL(key, s string) (*url.URL, bool) {
	const hint = "write mqtt://host:1883, mqtts://host:8883, ws://host/path or wss://host/path"
	u, err := url.Parse(s)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		if strings.Contains(s, "@") {
			err = errors.New("it cannot be read") // the cause may quote a password
		}
		c.Add(key, badURL, showURL(s), hint, err)
		return nil, false
	}
	way, known := ways[u.Scheme]
	port, portErr := strconv.Atoi(u.Port())
	switch {
	case u.Scheme == "https" || u.Scheme == "file":
		c.Add(key, laterScheme, showURL(s), hint, u.Scheme+"://")
	case !known:
		c.Add(key, badScheme, showURL(s), hint)
	case u.User != nil:
		c.Add(key, secretInURL, showURL(s), "write username and password_file")
	case u.Hostname() == "":
		c.Add(key, noHost, showURL(s), hint)
	case u.Port() != "" && (portErr != nil || port < 1 || port > 65535):
		c.Add(key, badPort, showURL(s), hint)
	case u.RawQuery != "", u.Fragment != "", !way.path && strings.Trim(u.Path, "/") != "":
		c.Add(key, moreInURL, showURL(s), hint)
	default:
		return u, true
	}
	return nil, false
}
