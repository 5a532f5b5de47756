package wire

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
)

// resolve takes the element as it stands into the pack.
func (d *decoder) resolve() error {
	e := &d.e
	if e.mustUnderstand != "" {
		return fmt.Errorf("label %q, which must be understood, is not known", e.mustUnderstand)
	}
	if e.has(lBver) && e.bver > 10 {
		return fmt.Errorf("bver: got %d, want at most 10", e.bver)
	}
	d.takeBase()
	device, channel, fault, err := d.name()
	if err != nil {
		return err
	}
	if err := d.takePackLabels(); err != nil {
		return err
	}
	if e.has(lSeq) {
		if err := d.startRecord(); err != nil {
			return err
		}
	} else if e.has(lTq) {
		return errors.New("tq stands on an element without seq")
	} else if e.has(lLb) {
		return errors.New("lb stands on an element without seq")
	}
	if d.number == 0 {
		if d.n == 0 && len(d.pack.Skip) > 0 && device == tidegate.GatewayDevice && channel == SkipChannel {
			return nil
		}
		return errors.New("the first record has no seq")
	}
	return d.reading(device, channel, fault)
}

// takeBase takes the base values of the element over.
func (d *decoder) takeBase() {
	e := &d.e
	if e.has(lBn) {
		d.bn = e.bn
		rest, ok := strings.CutPrefix(d.bn, urn)
		d.owner, d.prefix = "", ""
		if gateway, behind, whole := strings.Cut(rest, ":"); ok && whole {
			d.owner, d.prefix = gateway, behind
		}
	}
	if e.has(lBu) {
		d.bu = e.bu
	}
	if e.has(lBv) {
		d.bv = e.bv
	}
	if e.has(lBt) {
		d.bt, d.timed = e.bt, true
	}
}

// name resolves the element's name and takes it apart.
func (d *decoder) name() (device, channel string, fault bool, err error) {
	owner, rest := d.owner, d.prefix+d.e.n
	if owner == "" {
		full := d.bn + d.e.n
		behind, ok := strings.CutPrefix(full, urn)
		if owner, rest, _ = strings.Cut(behind, ":"); !ok || owner == "" {
			return "", "", false, fmt.Errorf("name: got %q, want %s{gateway}:{device}/{channel}", full, urn)
		}
	}
	if d.n == 0 {
		if err := tidegate.CheckName(owner); err != nil {
			return "", "", false, fmt.Errorf("gateway: %w", err)
		}
		d.pack.Gateway = owner
	} else if owner != d.pack.Gateway {
		return "", "", false, fmt.Errorf("name: got gateway %q, want %q", owner, d.pack.Gateway)
	}
	device, channel, ok := strings.Cut(rest, "/")
	channel, fault = strings.CutSuffix(channel, faultSuffix) // behind the device: a channel may be called fault
	if !ok || !isWord(device) || !isWord(channel) {
		return "", "", false, fmt.Errorf("name: got %q, want {device}/{channel} or {device}/{channel}%s", d.prefix+d.e.n, faultSuffix)
	}
	return device, channel, fault, nil
}

// takePackLabels takes over what only the first element has.
func (d *decoder) takePackLabels() error {
	e := &d.e
	if d.n > 0 {
		if e.seen&(1<<lEp|1<<lSkip|1<<lPart) != 0 {
			return errors.New("ep, skip or part stands on another element than the first")
		}
		return nil
	}
	if err := tidegate.CheckName(e.ep); err != nil {
		return fmt.Errorf("ep: %w", err)
	}
	d.pack.Epoch, d.pack.Skip = e.ep, e.skip
	if !e.has(lPart) {
		return nil
	}
	index, total, _ := strings.Cut(e.part, "/")
	i, err1 := strconv.ParseUint(index, 10, 16)
	n, err2 := strconv.ParseUint(total, 10, 16)
	if err1 != nil || err2 != nil || i < 1 || i > n || n > tidegate.MaxReadings {
		return fmt.Errorf("part: got %q, want 1/n to n/n, n at most %d", e.part, tidegate.MaxReadings)
	}
	d.pack.Part = Part{Index: int(i), Total: int(n)}
	return nil
}

// qualities are the words of tq.
var qualities = map[string]tidegate.TimeQuality{
	"corrected": tidegate.TimeCorrected, "estimated": tidegate.TimeEstimated, "relative": tidegate.TimeRelative,
}

// startRecord begins the record that the element's seq names.
func (d *decoder) startRecord() error {
	e := &d.e
	if e.seq <= d.number {
		return fmt.Errorf("seq: got %d behind %d, want rising numbers from 1 on", e.seq, d.number)
	}
	if !d.timed {
		return errors.New("record has no time: bt is missing")
	}
	quality := tidegate.TimeSynced
	if e.has(lTq) {
		var ok bool
		if quality, ok = qualities[e.tq]; !ok {
			return fmt.Errorf("tq: got %q, want corrected, estimated or relative", e.tq)
		}
	}
	if err := e.lb.Check(); err != nil {
		return fmt.Errorf("lb: %w", err)
	}
	d.number, d.at = e.seq, d.bt
	d.first = append(d.first, len(d.slab))
	d.pack.Records = append(d.pack.Records, tidegate.Record{Number: e.seq, Time: time.UnixMicro(d.at).UTC(), Quality: quality, Labels: e.lb.String()})
	return nil
}

// reading adds the element as a reading to the record.
func (d *decoder) reading(device, channel string, fault bool) error {
	e := &d.e
	if len(d.slab)-d.first[len(d.first)-1] == tidegate.MaxReadings {
		return fmt.Errorf("record %d has more than %d readings", d.number, tidegate.MaxReadings)
	}
	r := tidegate.Reading{Device: device, Channel: channel, Unit: d.bu}
	if e.has(lU) {
		r.Unit = e.u
	}
	us := d.bt + e.t
	if behind := us - d.at; behind > maxMicros || behind < -maxMicros {
		return fmt.Errorf("time is %d microseconds from its record's, want at most %.0f", behind, maxMicros)
	} else if behind != 0 {
		r.Time = time.UnixMicro(us).UTC()
	}
	switch values := e.seen & (1<<lV | 1<<lVs | 1<<lVb | 1<<lVd); {
	case fault && values == 1<<lVs && e.vs != "":
		r.Fault = e.vs
	case fault:
		return errors.New("a fault has no text in vs")
	case values == 1<<lV:
		f := e.v
		if d.bv != 0 { // -0 stays as it is
			f += d.bv
		}
		if math.IsInf(f, 0) {
			return fmt.Errorf("v: got %g + bv %g, which a double cannot hold", e.v, d.bv)
		}
		r.Value = tidegate.Float(f)
	case values == 1<<lVs:
		r.Value = tidegate.Text(e.vs)
	case values == 1<<lVb:
		r.Value = tidegate.Bool(e.vb)
	case values == 1<<lVd:
		b, err := base64.RawURLEncoding.Strict().DecodeString(e.vd)
		if err != nil || strings.ContainsAny(e.vd, "\r\n") {
			return fmt.Errorf("vd: got %q, want base64url without padding", e.vd)
		}
		r.Value = tidegate.Bytes(b)
	default:
		return errors.New("element has not exactly one of v, vs, vb, vd")
	}
	d.slab = append(d.slab, r)
	return nil
}
