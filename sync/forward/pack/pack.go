// Package pack makes payloads of records: encoded, compressed, within the limits of the far side.
package pack

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/gzip"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// gzipLevel is the best for its price on batches of 4,000 readings of running numbers, waves and a little noise: 3.1 bytes a reading
// for 90 ns (amd64), where level 1 takes 4.2 bytes for 54 ns and level 6 gains next to nothing; see BenchmarkGzipLevels.
const gzipLevel = 5

// maxRecordBytes is how large the payload of one record may be, for cutting it to be tried.
const maxRecordBytes = 16 << 20

// A Packer makes payloads of records. Its fields are set before its first use and not changed after. It reuses its scratch space
// and is used by one goroutine.
type Packer struct {
	Gateway    string // id
	Uplink     string // name: records meant for another one are skipped
	Gzip       bool
	MaxPayload int // bytes of a payload the far side takes

	// Encode appends p as a payload, not compressed, to dst. An error is about a record that can never be sent.
	Encode func(dst []byte, p *wire.Pack) ([]byte, error)

	raw   []byte
	zip   *gzip.Writer
	out   bytes.Buffer
	last  int     // size of the last payload
	perRd float64 // payload bytes per reading, lately
}

// A Payload is records made ready to send.
type Payload struct {
	Parts   [][]byte        // one, but for a record that is larger than what the far side takes; they are the caller's
	Numbers tidegate.Ranges // of all records, skipped ones included
	Count   int             // readings
	Skipped uint64          // numbers
}

// Size returns the bytes of all parts.
func (p *Payload) Size() int {
	n := 0
	for _, b := range p.Parts {
		n += len(b)
	}
	return n
}

// ErrUnsendable is wrapped by errors that are about one record only: it can never be sent.
var ErrUnsendable = errors.New("record cannot be sent")

// Fits returns how many of recs, at most so many readings of them, make a payload of about at most limit bytes; at least one.
func (p *Packer) Fits(recs []tidegate.Record, readings, limit int) int {
	if p.perRd > 0 {
		readings = min(readings, int(float64(limit)/p.perRd))
	}
	readings = min(readings, wire.MaxElements)
	n, sum := 0, 0
	for i := range recs {
		sum += len(recs[i].Readings)
		if n > 0 && sum > readings {
			break
		}
		n++
	}
	return n
}

const (
	maxAside = 1000 // runs of aside that one payload tells at most
	fewAside = 16   // runs that it tells also with a record that is cut into parts, where there is room
)

// IsFor reports whether r is meant for this uplink.
func (p *Packer) IsFor(r *tidegate.Record) bool { return r.For == "" || r.For == p.Uplink }

// Pack makes one payload of the first n records, or of fewer when they turn out larger than limit, or before compression than
// wire.MaxBody, which is all that a far side takes; it returns how many. A single record is cut into parts when it is too large.
// The far side is also told to skip the numbers in aside that are below the last record, or the first of them where they are many.
func (p *Packer) Pack(epoch string, recs []tidegate.Record, aside tidegate.Ranges, n, limit int) (*Payload, int, error) {
	limit = min(limit, p.MaxPayload)
	for most := maxAside; ; {
		out, pk := &Payload{}, wire.Pack{Gateway: p.Gateway, Epoch: epoch}
		told := aside.Within(tidegate.Range{Last: recs[n-1].Number})
		told = told[:min(len(told), most)]
		pk.Skip.AddAll(told)
		out.Numbers.AddAll(told)
		out.Skipped = told.Len()
		for i := range recs[:n] {
			r := &recs[i]
			out.Numbers.Add(tidegate.Range{First: r.Number, Last: r.Number})
			if !p.IsFor(r) {
				pk.Skip.Add(tidegate.Range{First: r.Number, Last: r.Number})
				out.Skipped++
				continue
			}
			pk.Records = append(pk.Records, *r)
			out.Count += len(r.Readings)
		}
		body, err := p.encode(&pk)
		if err != nil {
			if n > 1 { // one of them is to blame: find it
				n = (n + 1) / 2
				continue
			}
			return nil, n, fmt.Errorf("%w: %w", ErrUnsendable, err)
		}
		if out.Count > 0 {
			p.learn(float64(len(body)) / float64(out.Count))
		}
		over := float64(len(p.raw)) / wire.MaxBody
		switch {
		case over <= 1 && (len(body) <= limit || n == 1 && len(body) <= p.MaxPayload):
			out.Parts, p.last = [][]byte{bytes.Clone(body)}, len(body)
			return out, n, nil
		case n == 1:
			if len(told) <= fewAside {
				out.Parts, err = p.cut(&pk, len(body))
			}
			if len(told) == 0 || out.Parts != nil {
				return out, 1, err
			}
			most = len(told) / 2
			continue
		}
		n = max(1, min(n-1, int(float64(n)/max(over, float64(len(body))/float64(limit))*0.95)))
	}
}

// Typical returns how large the next payload is likely to be, in bytes.
func (p *Packer) Typical() int { return p.last }

// learn takes the size of a payload into the estimate, quickly upwards and slowly downwards.
func (p *Packer) learn(perReading float64) {
	if perReading > p.perRd {
		p.perRd = perReading
	} else {
		p.perRd += (perReading - p.perRd) / 8
	}
}

// cut makes parts of the only record of pk, whose payload is size bytes, that fit into MaxPayload.
func (p *Packer) cut(pk *wire.Pack, size int) ([][]byte, error) {
	if len(pk.Records) == 0 || size > maxRecordBytes {
		return nil, fmt.Errorf("%w: its payload is %d bytes, the far side takes %d", ErrUnsendable, size, p.MaxPayload)
	}
	rec := pk.Records[0]
	all := rec.Readings
	for total := max(size/p.MaxPayload, len(p.raw)/wire.MaxBody) + 1; ; total++ {
		total = min(total, len(all))
		var parts [][]byte
		for i := range total {
			rec.Readings = all[len(all)*i/total : len(all)*(i+1)/total]
			part := *pk
			part.Records = []tidegate.Record{rec}
			part.Part = wire.Part{Index: i + 1, Total: total}
			body, err := p.encode(&part)
			if err != nil {
				return nil, fmt.Errorf("%w: part %d of %d: %w", ErrUnsendable, i+1, total, err)
			}
			if len(body) > p.MaxPayload || len(p.raw) > wire.MaxBody {
				break
			}
			parts = append(parts, bytes.Clone(body))
		}
		if len(parts) == total {
			return parts, nil
		}
		if total == len(all) {
			return nil, fmt.Errorf("%w: a reading alone is larger than the %d bytes that the far side takes, or the %d behind compression",
				ErrUnsendable, p.MaxPayload, wire.MaxBody)
		}
	}
}

// encode returns the payload of pk; it is valid until the next call.
func (p *Packer) encode(pk *wire.Pack) ([]byte, error) {
	raw, err := p.Encode(p.raw[:0], pk)
	if err != nil {
		return nil, err
	}
	p.raw = raw
	if !p.Gzip {
		return raw, nil
	}
	if p.zip == nil {
		if p.zip, err = gzip.NewWriterLevel(nil, gzipLevel); err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
	}
	p.out.Reset()
	p.zip.Reset(&p.out)
	if _, err := p.zip.Write(raw); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := p.zip.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return p.out.Bytes(), nil
}
