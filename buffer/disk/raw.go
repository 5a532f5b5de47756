package disk

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4/fb"

	"github.com/tidegate-io/tidegate/buffer/stored"
)

// A Scrap is a key with its value as they lie in a file of a store that does not open. Nothing of it is verified.
type Scrap struct {
	Key, Value []byte
	Version    uint64 // higher = written later
	Deleted    bool   // the key was deleted then; there is no value
}

const (
	logHead   = 20       // bytes before the first entry of a memtable's log
	entryHead = 4        // bytes before an entry of a table's block
	mostSum   = 16       // bytes of a block's checksum; it takes 7 at most
	mostKey   = 1 << 10  // bytes of a key; ours have less than half
	mostFile  = 64 << 20 // bytes of a table or log; ours have a sixth
	pageBytes = 4 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Scraps calls f with what the tables and the memtables' logs in dir hold, file by file, in the order of keys within a table: with frames
// where frames is set, else with everything but them. It goes past what is damaged, opens no database and changes nothing. Key and value are valid
// only during the call. It returns f's error, or that of the folder; a file that cannot be read at all is left out.
func Scraps(dir string, frames bool, f func(Scrap) error) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list damaged store: %w", err)
	}
	slices.SortStableFunc(list, func(a, b os.DirEntry) int { // names of tables are longer than those of logs, which are newer
		return cmp.Or(cmp.Compare(filepath.Ext(b.Name()), filepath.Ext(a.Name())), cmp.Compare(a.Name(), b.Name()))
	})
	wanted := func(s Scrap) error {
		if len(s.Key) == 0 || (s.Key[0] == stored.KeyFrame) != frames {
			return nil
		}
		switch s.Key[0] {
		case stored.KeyFrame, stored.KeyIndex, stored.KeyMeta, stored.KeyRejected:
			return f(s)
		}
		return nil // Badger's own
	}
	for _, e := range list {
		look := map[string]func([]byte, func(Scrap) error) error{".sst": tableScraps, ".mem": logScraps}[filepath.Ext(e.Name())]
		if look == nil {
			continue
		}
		b, err := readable(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		if err := look(b, wanted); err != nil {
			return err
		}
	}
	return nil
}

// readable returns the file; pages that cannot be read are zeros.
func readable(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil && (!st.Mode().IsRegular() || st.Size() > mostFile) {
		err = fmt.Errorf("%s: %d bytes, at most %d", path, st.Size(), mostFile)
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, st.Size())
	if _, err := f.ReadAt(b, 0); err == nil || errors.Is(err, io.EOF) {
		return b, nil
	}
	for at := 0; at < len(b); at += pageBytes {
		page := b[at:min(at+pageBytes, len(b))]
		if _, err := f.ReadAt(page, int64(at)); err != nil {
			clear(page)
		}
	}
	return b, nil
}

// A span is where a block lies in a table.
type span struct{ from, to int }

// tableScraps goes through the blocks of a table: those that its index names, and where that is damaged or gone those that look like some.
func tableScraps(b []byte, f func(Scrap) error) error {
	list, at := indexed(b), 0
	for _, s := range list {
		if s.from == at {
			at = s.to
		}
	}
	if len(list) == 0 || at != list[len(list)-1].to {
		list = carved(b)
	}
	for _, s := range list {
		if err := blockScraps(b[s.from:s.to], f); err != nil {
			return err
		}
	}
	return nil
}

// carved returns the blocks of table b as far as they can be told from what ends each: the places of its entries, of which the first is 0, their
// number, a checksum, and its length.
func carved(b []byte) (list []span) {
	from := 0
	for at := from; ; at++ {
		n := bytes.Index(b[at:], []byte{0, 0, 0})
		if n < 0 || at+n+4 > len(b) {
			return list
		}
		at += n
		if end := at + 4; isBlock(b[from:end]) {
			list = append(list, span{from, end})
			from = end
		}
	}
}

// isBlock reports whether b is laid out as a block, whatever became of its values.
func isBlock(b []byte) bool {
	places, end, ok := placesOf(b)
	if !ok {
		return false
	}
	sum := b[end+len(places)+4 : len(b)-4] // field 2 of a message: a number that ends with it
	if _, n := binary.Uvarint(sum[min(1, len(sum)):]); len(sum) < 2 || sum[0] != 2<<3 || n != len(sum)-1 {
		return false
	}
	last, base := -1, 0
	for ; len(places) > 0; places = places[4:] {
		at := int(binary.NativeEndian.Uint32(places))
		if at <= last || last < 0 && at != 0 || at > end-entryHead {
			return false
		}
		shared, rest := int(binary.NativeEndian.Uint16(b[at:])), int(binary.NativeEndian.Uint16(b[at+2:]))
		if at == 0 {
			base = rest
		}
		if shared > base || at == 0 && shared > 0 || shared+rest < 9 || rest > mostKey || at+entryHead+rest > end {
			return false
		}
		last = at
	}
	return true
}

// placesOf returns the places of the entries of block b, and where the last of these ends.
func placesOf(b []byte) (places []byte, end int, ok bool) {
	at := len(b) - 4
	if at < 0 {
		return nil, 0, false
	}
	sum := binary.BigEndian.Uint32(b[at:])
	if sum > mostSum {
		return nil, 0, false
	}
	if at -= int(sum) + 4; at < 0 {
		return nil, 0, false
	}
	n := int(binary.BigEndian.Uint32(b[at:]))
	if n <= 0 || n > at/4 {
		return nil, 0, false
	}
	return b[at-4*n : at], at - 4*n, true
}

// indexed returns the blocks that the index of table b names, as far as they lie in it.
func indexed(b []byte) (list []span) {
	_ = guarded(func() { // of a damaged index, those that were found by then
		end := len(b) - 4
		end -= int(binary.BigEndian.Uint32(b[end:])) + 4 // the checksum, and before it the length of the index
		start := end - int(binary.BigEndian.Uint32(b[end:]))
		index := fb.GetRootAsTableIndex(b[start:end], 0)
		var at fb.BlockOffset
		for i := range min(index.OffsetsLength(), len(b)/entryHead) {
			if !index.Offsets(&at, i) {
				return
			}
			if from, n := int(at.Offset()), int(at.Len()); from >= 0 && n > 0 && from <= start-n {
				list = append(list, span{from, from + n})
			}
		}
	})
	return list
}

// blockScraps goes through the entries of a block: each is what it shares with the first key, the rest of its key, and its value, up to the
// next. Behind them are the places of all, their number, a checksum and its length.
func blockScraps(b []byte, f func(Scrap) error) error {
	places, end, ok := placesOf(b)
	if !ok {
		return nil
	}
	n := len(places) / 4
	place := func(i int) int {
		if i == n {
			return end
		}
		return int(binary.NativeEndian.Uint32(places[4*i:]))
	}
	var base []byte
	for i := range n {
		from, to := place(i), place(i+1)
		if from < 0 || to > end || from > to-entryHead {
			continue
		}
		shared, rest := int(binary.NativeEndian.Uint16(b[from:])), int(binary.NativeEndian.Uint16(b[from+2:]))
		at := from + entryHead + rest
		if i == 0 && at <= to {
			base = b[from+entryHead : at]
		}
		if at > to-3 || shared > len(base) {
			continue
		}
		key := append(append(make([]byte, 0, shared+rest), base[:shared]...), b[from+entryHead:at]...)
		if _, n := binary.Uvarint(b[at+2 : to]); n > 0 { // when it expires: ours never do
			if err := hand(key, b[at], b[at+2+n:to], f); err != nil {
				return err
			}
		}
	}
	return nil
}

// hand hands an entry to f; key ends with the version.
func hand(key []byte, meta byte, value []byte, f func(Scrap) error) error {
	n := len(key) - 8
	if n < 1 {
		return nil
	}
	return f(Scrap{Key: key[:n], Value: value, Version: math.MaxUint64 - binary.BigEndian.Uint64(key[n:]), Deleted: meta&1 != 0})
}

// logScraps goes through the entries of a memtable's log, each of which has a checksum, and goes on behind damage.
func logScraps(b []byte, f func(Scrap) error) error {
	for at := logHead; at < len(b); {
		key, value, n := logEntry(b[at:])
		if n == 0 {
			at++
			continue
		}
		if err := hand(key, b[at], value, f); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// logEntry returns the entry that b begins with, as badger's memtable.go writes it, and its length; 0 where there is none: meta, user meta, lengths of key
// and value, time of expiry, key, value, and the CRC32C of all that.
func logEntry(b []byte) (key, value []byte, n int) {
	if len(b) < 10 || b[1] != 0 || b[2] == 0 { // no user bits; a key
		return nil, nil, 0
	}
	at := 2
	var lengths [3]uint64 // of key and value; when it expires
	for i := range lengths {
		v, size := binary.Uvarint(b[at:min(at+10, len(b))])
		if size <= 0 {
			return nil, nil, 0
		}
		lengths[i] = v
		at += size
	}
	if lengths[0] > mostKey || lengths[1] > MaxWrite || lengths[2] != 0 {
		return nil, nil, 0
	}
	body := at + int(lengths[0])
	end := body + int(lengths[1])
	if end+4 > len(b) || crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return nil, nil, 0
	}
	return b[at:body], b[body:end], end + 4
}
