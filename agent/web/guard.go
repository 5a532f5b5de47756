package web

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
)

// policyOf returns the Content-Security-Policy of a page (CSP Level 3): nothing but its own style and script, by their hashes, and requests to
// where it came from.
func policyOf(page []byte) string {
	hash := func(tag string) string {
		_, rest, _ := bytes.Cut(page, []byte("<"+tag+">"))
		inner, _, _ := bytes.Cut(rest, []byte("</"+tag+">"))
		sum := sha256.Sum256(inner)
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash("style") + "; script-src " + hash("script") +
		"; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// refuse returns why a request is not answered, "" for one that is.
func (s *Server) refuse(r *http.Request, socket bool) (status int, why string) {
	switch {
	case r.ContentLength > maxBody:
		return http.StatusRequestEntityTooLarge, "body too large"
	case !clean(r.URL.Path):
		return http.StatusBadRequest, "path is not clean"
	case !socket && !s.meant(r.Host):
		return http.StatusMisdirectedRequest, "ask by address, or by the name of this machine"
	}
	return 0, ""
}

// clean reports whether p has no "..", no empty element and nothing that is no text.
func clean(p string) bool {
	if p != path.Clean(p) || strings.ContainsRune(p, '\\') {
		return false
	}
	return strings.IndexFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// meant reports whether a request for host is meant for this machine: an address, a name without domain or of a local one, or the
// machine's own name. Anything else may be a page from elsewhere that had its name resolve to this machine (DNS rebinding).
func (s *Server) meant(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	first, domain, dotted := strings.Cut(host, ".")
	own, _, _ := strings.Cut(strings.ToLower(s.name), ".")
	switch domain {
	case "local", "lan", "internal", "home.arpa":
		return true
	}
	return !dotted || first == own
}
