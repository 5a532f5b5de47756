package gpio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// keepEvery is how often totals are kept while they change.
const keepEvery = time.Second

// A book keeps what the counters of a device have counted, over restarts.
type book struct {
	memory   drivers.Memory
	accounts []*account
	isRead   bool // what was kept before is in the accounts; until then nothing is kept, so that it is not lost
	isNews   bool // the accounts are not kept as they are
	tried    time.Time
	err      error // why the last reading or keeping failed; nil = it did not
}

// An account is what one counter has counted.
type account struct {
	channel string
	start   float64 // setting that it was counted from
	edges   uint64  // dropped ones included
	lost    uint64  // of these, dropped by the kernel
	damage  error   // why what was kept is of no use, until it was reported
	said    string  // trouble with the keeping that was reported last
}

func newBook(m drivers.Memory) *book { return &book{memory: m} }

// open adds a counter.
func (b *book) open(channel string, start float64) *account {
	a := &account{channel: channel, start: start}
	b.accounts = append(b.accounts, a)
	return a
}

// add adds n edges, lost ones among them, to an account of the book.
func (b *book) add(a *account, n, lost int) {
	a.edges += uint64(n)
	a.lost += uint64(lost)
	b.isNews = true
}

// read adds to the accounts what was kept before the device was opened, once that can be told.
func (b *book) read() {
	if b.isRead || len(b.accounts) == 0 {
		return
	}
	kept, err := b.memory.Load()
	if b.err = err; err != nil {
		return
	}
	b.isRead = true
	before, err := decodeAccounts(kept)
	b.isNews = b.isNews || err != nil
	for _, a := range b.accounts {
		a.damage = err
		for _, k := range before {
			if k.channel == a.channel && k.start == a.start {
				a.edges += k.edges
				a.lost += k.lost
			}
		}
	}
}

// due returns when the accounts are to be kept; zero = there is nothing new.
func (b *book) due() time.Time {
	if !b.isNews || !b.isRead {
		return time.Time{}
	}
	return b.tried.Add(keepEvery)
}

// keep keeps the accounts if there is something new, and it is time or isNow.
func (b *book) keep(now time.Time, isNow bool) {
	if at := b.due(); at.IsZero() || !isNow && now.Before(at) {
		return
	}
	b.tried = now
	if b.err = b.memory.Store(encodeAccounts(b.accounts)); b.err == nil {
		b.isNews = false
	}
}

// trouble returns what is to be reported of the keeping of an account: while its total is not known, each time; else once.
func (b *book) trouble(a *account) error {
	if !b.isRead {
		return fmt.Errorf("total is not known: read what was kept before: %w; %d edges were counted since", b.err, a.edges)
	}
	if err := a.damage; err != nil {
		a.damage = nil
		return fmt.Errorf("total kept before is damaged, counting begins anew from start: %w", err)
	}
	text := ""
	if b.err != nil {
		text = b.err.Error()
	}
	isNews := text != a.said
	if a.said = text; b.err == nil || !isNews {
		return nil
	}
	return fmt.Errorf("total is not kept, and a restart would go back: %w", b.err)
}

// What is kept: a byte of version, a byte with the number of accounts, then for each the length of the channel's name (a byte), the name, start (IEEE
// 754, 8 bytes), edges and lost (uvarint); at the end CRC-32 (IEEE) of all that, 4 bytes. Numbers are little-endian.
const (
	bookVersion = 1
	crcSize     = 4
	// mostKept is the most that maxLines accounts take.
	mostKept = 2 + maxLines*(1+tidegate.MaxName+8+2*binary.MaxVarintLen64) + crcSize
)

const _ = uint(drivers.MemoryMost - mostKept) // it fits

func encodeAccounts(list []*account) []byte {
	out := []byte{bookVersion, byte(len(list))}
	for _, a := range list {
		out = append(out, byte(len(a.channel)))
		out = append(out, a.channel...)
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(a.start))
		out = binary.AppendUvarint(out, a.edges)
		out = binary.AppendUvarint(out, a.lost)
	}
	return binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(out))
}

// decodeAccounts is the inverse of encodeAccounts. Nothing kept is no account.
func decodeAccounts(b []byte) ([]account, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 2+crcSize {
		return nil, fmt.Errorf("%d bytes, want %d at least", len(b), 2+crcSize)
	}
	body, end := b[:len(b)-crcSize], binary.LittleEndian.Uint32(b[len(b)-crcSize:])
	if sum := crc32.ChecksumIEEE(body); sum != end {
		return nil, fmt.Errorf("checksum is %08x, want %08x", end, sum)
	}
	if body[0] != bookVersion {
		return nil, fmt.Errorf("version %d, want %d: it was kept by another release", body[0], bookVersion)
	}
	out := make([]account, body[1])
	rest := body[2:]
	for i := range out {
		var ok bool
		if out[i], rest, ok = cutAccount(rest); !ok {
			return nil, fmt.Errorf("account %d of %d is cut short", i+1, len(out))
		}
	}
	if len(rest) > 0 {
		return nil, errors.New("more than its accounts")
	}
	return out, nil
}

// cutAccount returns the account at the beginning of b, and what comes behind it.
func cutAccount(b []byte) (a account, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0])+8 {
		return account{}, nil, false
	}
	n := 1 + int(b[0])
	a.channel, a.start = string(b[1:n]), math.Float64frombits(binary.LittleEndian.Uint64(b[n:]))
	b = b[n+8:]
	for _, to := range []*uint64{&a.edges, &a.lost} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return account{}, nil, false
		}
		*to, b = v, b[n:]
	}
	return a, b, true
}
