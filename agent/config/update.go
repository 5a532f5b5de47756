package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
)

// A DayWindow is a time of each day, from Begin up to End, minutes since midnight; over midnight where End is the lesser. The zero value is
// the whole day.
type DayWindow struct{ Begin, End int }

// UnmarshalText reads a window; its errors end in a hint.
func (w *DayWindow) UnmarshalText(text []byte) error {
	const hint = `write two times with a dash between them, for instance "02:00-05:00"`
	from, to, ok := strings.Cut(string(text), "-")
	a, err1 := time.Parse("15:04", from)
	b, err2 := time.Parse("15:04", to)
	if !ok || len(from) != 5 || len(to) != 5 || errors.Join(err1, err2) != nil {
		return fmt.Errorf("a time of day is wanted; %s", hint)
	}
	if a.Equal(b) {
		return errors.New("it begins and ends at the same time; leave the key out for the whole day")
	}
	*w = DayWindow{a.Hour()*60 + a.Minute(), b.Hour()*60 + b.Minute()}
	return nil
}

// Pattern returns the regular expression of windows.
func (w DayWindow) Pattern() string {
	return "^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$"
}

// String returns w as it is read, "" for the whole day.
func (w DayWindow) String() string {
	if w == (DayWindow{}) {
		return ""
	}
	return fmt.Sprintf("%02d:%02d-%02d:%02d", w.Begin/60, w.Begin%60, w.End/60, w.End%60)
}

// Holds reports whether t is in the window, in its own zone.
func (w DayWindow) Holds(t time.Time) bool {
	at := t.Hour()*60 + t.Minute()
	if w.Begin > w.End {
		return at >= w.Begin || at < w.End
	}
	return w == (DayWindow{}) || at >= w.Begin && at < w.End
}

// checkUpdate checks where releases come from. What root.json says is looked at by the one who trusts it.
func (c *checker) checkUpdate() {
	u := &c.cfg.Update
	c.checkRoot(u.Root)
	secure := false
	for i, place := range u.From {
		key := "update.from[" + strconv.Itoa(i) + "]"
		if slices.Index(u.From, place) < i {
			c.Add(key, placeTwice, showURL(place), "name each once")
		}
		secure = c.checkPlace(key, place) || secure
	}
	if len(u.From) > 0 && u.Root == "" && !c.Faulty("update.root") {
		c.Add("update.from", noRoot, "", "name the root.json of whoever makes the releases at root")
	}
	c.checkCA("update.ca", u.CA)
	if u.CA != "" && !secure {
		c.Add("update.ca", caUnused, strict.Show(u.CA), "name a place with https://, or leave the key out")
	}
	if u.Settle >= u.Trial && !c.Faulty("update.settle") && !c.Faulty("update.trial") {
		c.Add("update.settle", badSettle, u.Settle.String(), "write a shorter time, or a longer one at trial", u.Trial)
	}
	if err := tidegate.CheckName(u.Tenant); u.Tenant != "" && err != nil {
		c.Add("update.tenant", badTenant, strict.Show(u.Tenant), "write a name of A-Z a-z 0-9 . _ -", err)
	}
	for i, h := range u.Hardware {
		if h == "" || len(h) > 128 || strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r > '~' }) {
			c.Add("update.hardware["+strconv.Itoa(i)+"]", badHardware, strict.Show(h), "write it as the device tree does, for instance raspberrypi,4-model-b")
		}
	}
}

// checkPlace checks one place of releases, and reports whether it is reached by TLS.
func (c *checker) checkPlace(key, place string) (secure bool) {
	const hint = "write https://host/path of a static server, or the absolute path of a directory"
	if strings.HasPrefix(place, "/") {
		if filepath.Clean(place) != strings.TrimSuffix(place, "/") && place != "/" {
			c.upwards(key, place)
		}
		return false
	}
	u, err := url.Parse(place)
	local := err == nil && u.Scheme == "http" && isLocal(u.Hostname())
	switch {
	case err == nil && u.User != nil:
		c.Add(key, secretPlace, showURL(place), "the files are signed: nobody needs a password for them")
	case err != nil || u.Scheme != "https" && !local || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		c.Add(key, badPlace, showURL(place), hint)
	}
	return err == nil && u.Scheme == "https"
}

// checkRoot checks the file that trust begins with. Without it there are no updates, which is no reason not to read devices.
func (c *checker) checkRoot(path string) {
	const key = "update.root"
	text, ok := c.fileOr(c.WarnRefused, key, path, strict.Public)
	if !ok {
		return
	}
	if err := mayBeRoot(text); err != nil {
		c.Warn(key, badRoot, strict.Show(path), "name the root.json that tidegate-release made; there are no updates without it", err)
	}
}

// mayBeRoot reports whether text may be a root.json.
func mayBeRoot(text []byte) error {
	var root struct {
		Signed struct {
			Type string `json:"_type"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(text, &root); err != nil {
		return err
	}
	if root.Signed.Type != "root" {
		return fmt.Errorf("it is of type %q, not root", root.Signed.Type)
	}
	return nil
}
