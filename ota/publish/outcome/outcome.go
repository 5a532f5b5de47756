// Package outcome counts what became of a release on the gateways of a fleet, so that a bad one is held back before all have it. It reads
// lines and says a number: what follows from it is the caller's.
package outcome

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/tidegate-io/tidegate/ota/release"
)

// maxLine is how long a line may be, in bytes; longer ones are unreadable.
const maxLine = 64 << 10

// A Count is how many gateways said what last about one release.
type Count struct {
	Counter    uint64         `json:"counter"`
	Kept       int            `json:"kept"`       // it runs
	Failed     int            `json:"failed"`     // it ran, and the one before was put back
	Refused    int            `json:"refused"`    // it never ran there
	Other      int            `json:"other"`      // a result that is none of these
	Unreadable int            `json:"unreadable"` // lines, whatever release they were about
	Reasons    map[string]int `json:"reasons"`    // of Failed and Refused
}

// record is an outcome; it may have more fields.
type record struct {
	Gateway string `json:"gateway"`
	Counter uint64 `json:"counter"`
	Result  string `json:"result"`
	Reason  string `json:"reason"`
}

// reading is a line of tidegate-receive, of which the text of _gateway's channel update is an outcome.
type reading struct {
	Gateway string  `json:"gw"`
	Device  string  `json:"device"`
	Channel string  `json:"channel"`
	Text    *string `json:"vs"`
}

// Read counts the outcomes of a release among lines of JSON, oldest first: the last one of each gateway counts. A line is what tidegate-receive
// writes, of which most are other readings, or an outcome by itself:
//
//	{"gateway":"gw-1","counter":7,"result":"kept"|"failed"|"refused","reason":"..."}
func Read(in io.Reader, counter uint64) (Count, error) {
	c := Count{Counter: counter, Reasons: map[string]int{}}
	last := map[string]record{}
	for r := bufio.NewReaderSize(in, maxLine); ; {
		line, err := r.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return c, fmt.Errorf("read outcomes: %w", err)
		}
		if long {
			c.Unreadable++ // line is of what came behind it by now
		} else if len(bytes.TrimSpace(line)) > 0 {
			o, other, ok := parse(line)
			switch {
			case !ok && !other:
				c.Unreadable++
			case o.Counter == counter:
				last[o.Gateway] = o
			}
		}
		if err != nil {
			break
		}
	}
	for _, o := range last {
		c.add(o)
	}
	return c, nil
}

// parse reads a line; other = it is about something else.
func parse(line []byte) (o record, other, ok bool) {
	var r reading
	if json.Unmarshal(line, &r) == nil && r.Gateway != "" {
		if r.Device != "_gateway" || r.Channel != "update" || r.Text == nil {
			return record{}, r.Device != "", false
		}
		line = []byte(*r.Text)
	}
	if json.Unmarshal(line, &o) != nil {
		return record{}, false, false
	}
	if r.Gateway != "" {
		o.Gateway = r.Gateway // who the broker let publish, not who it says it is
	}
	if o.Gateway != "" && o.Counter == 0 && o.Result == "refused" {
		return record{}, true, false // of no release: there was none to be had
	}
	return o, false, o.Gateway != "" && o.Counter != 0
}

func (c *Count) add(o record) {
	switch o.Result {
	case "kept":
		c.Kept++
		return
	case "failed":
		c.Failed++
	case "refused":
		c.Refused++
	default:
		c.Other++
		return
	}
	if o.Reason != "" {
		c.Reasons[o.Reason]++
	}
}

// Tried returns how many gateways ran the release.
func (c Count) Tried() int { return c.Kept + c.Failed }

// Over reports whether more than share of those that ran the release failed, of least gateways at least.
func (c Count) Over(share release.Stage, least int) bool {
	return c.Tried() >= least && c.Failed*int(release.All) > int(share)*c.Tried()
}
