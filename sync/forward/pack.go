package forward

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/gzip"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// gzipLevel is the best for its price on batches of 4,000 readings of running numbers; see BenchmarkGzipLevels.
const gzipLevel = 2

// packer makes payloads of records. It reuses its scratch space.
type packer struct {
	o     *Options
	raw   []byte
	zip   *gzip.Writer
	out   bytes.Buffer
	last  int     // size of the last payload
	perRd float64 // payload bytes per reading, lately
}

// payload is records made ready to send.
type payload struct {
	parts   [][]byte        // one, but for a record that is larger than what the far side takes
	numbers tidegate.Ranges // of all records, skipped ones included
	count   int             // readings
	skipped uint64          // records
}

// errUnsendable is wrapped by errors that are about one record only: it can never be sent.
var errUnsendable = errors.New("record cannot be sent")

func newPacker(o *Options) *packer {
	p := &packer{o: o}
	if o.Gzip {
		p.zip, _ = gzip.NewWriterLevel(nil, gzipLevel) // the level is a constant within range
	}
	return p
}

// fits returns how many of recs, at most so many readings of them, make a payload of about at most limit bytes; at least one.
func (p *packer) fits(recs []tidegate.Record, readings, limit int) int {
	if p.perRd > 0 {
		readings = min(readings, int(float64(limit)/p.perRd))
	}
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

// pack makes one payload of the first n records, or of fewer when they turn out larger than limit; it returns how many. A single
// record is cut into parts when it is larger than MaxPayload.
func (p *packer) pack(epoch string, recs []tidegate.Record, n, limit int) (*payload, int, error) {
	limit = min(limit, p.o.MaxPayload)
	for {
		out, pk := &payload{}, wire.Pack{Gateway: p.o.Gateway, Epoch: epoch}
		for i := range recs[:n] {
			r := &recs[i]
			out.numbers.Add(tidegate.Range{First: r.Number, Last: r.Number})
			if r.For != "" && r.For != p.o.Name {
				pk.Skip.Add(tidegate.Range{First: r.Number, Last: r.Number})
				out.skipped++
				continue
			}
			pk.Records = append(pk.Records, *r)
			out.count += len(r.Readings)
		}
		body, err := p.encode(&pk)
		if err != nil {
			if n > 1 { // one of them is to blame: find it
				n = (n + 1) / 2
				continue
			}
			return nil, n, fmt.Errorf("%w: %w", errUnsendable, err)
		}
		if out.count > 0 {
			p.learn(float64(len(body)) / float64(out.count))
		}
		switch {
		case len(body) <= limit, n == 1 && len(body) <= p.o.MaxPayload:
			out.parts, p.last = [][]byte{bytes.Clone(body)}, len(body)
			return out, n, nil
		case n == 1:
			out.parts, err = p.cut(&pk, len(body))
			return out, 1, err
		}
		n = max(1, min(n-1, int(float64(n)*float64(limit)/float64(len(body))*0.95)))
	}
}

// typical returns how large the next payload is likely to be, in bytes.
func (p *packer) typical() int { return p.last }

// learn takes the size of a payload into the estimate, quickly upwards and slowly downwards.
func (p *packer) learn(perReading float64) {
	if perReading > p.perRd {
		p.perRd = perReading
	} else {
		p.perRd += (perReading - p.perRd) / 8
	}
}

// cut makes parts of the only record of pk, whose payload is size bytes, that fit into MaxPayload.
func (p *packer) cut(pk *wire.Pack, size int) ([][]byte, error) {
	if len(pk.Records) == 0 || size > maxRecordBytes {
		return nil, fmt.Errorf("%w: its payload is %d bytes, the far side takes %d", errUnsendable, size, p.o.MaxPayload)
	}
	rec := pk.Records[0]
	all := rec.Readings
	for total := size/p.o.MaxPayload + 1; ; total++ {
		total = min(total, len(all))
		var parts [][]byte
		for i := range total {
			rec.Readings = all[len(all)*i/total : len(all)*(i+1)/total]
			part := *pk
			part.Records = []tidegate.Record{rec}
			part.Part = wire.Part{Index: i + 1, Total: total}
			body, err := p.encode(&part)
			if err != nil {
				return nil, fmt.Errorf("%w: part %d of %d: %w", errUnsendable, i+1, total, err)
			}
			if len(body) > p.o.MaxPayload {
				break
			}
			parts = append(parts, bytes.Clone(body))
		}
		if len(parts) == total {
			return parts, nil
		}
		if total == len(all) {
			return nil, fmt.Errorf("%w: a reading alone is larger than the %d bytes that the far side takes", errUnsendable, p.o.MaxPayload)
		}
	}
}

// encode returns the payload of pk; it is valid until the next call.
func (p *packer) encode(pk *wire.Pack) ([]byte, error) {
	raw, err := p.o.Encode(p.raw[:0], pk)
	if err != nil {
		return nil, err
	}
	p.raw = raw
	if p.zip == nil {
		return raw, nil
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
