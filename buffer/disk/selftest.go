package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/tidegate-io/tidegate/buffer/stored"
)

// Sizes of the self-test: values up to the largest frame, and in all more than a table, so that builders are used to their end.
const (
	testValues = 160
	testBytes  = testValues * stored.MaxFrame / 2
)

// testOnce writes 16 MB to a scratch store, opens it again and compares: on 32 bit a table builder of Badger has lost what it was
// given, without an error, with settings other than ours. It is made once for each version of the program; a file says so.
func testOnce(o *Options) error {
	mark := filepath.Join(o.Dir, "selftest")
	if b, err := os.ReadFile(mark); err == nil && string(b) == o.Version+"\n" && o.Version != "" {
		return nil
	}
	free, _, err := o.Statfs(o.Dir)
	if err != nil {
		return err
	}
	if free < Reserve+3*testBytes {
		o.Log.Warn("self-test of the store waits for a start with more room on the disk", "free", free)
		return nil
	}
	dir, err := os.MkdirTemp(o.Dir, "selftest-")
	if err != nil {
		return fmt.Errorf("self-test of the store: %w", err)
	}
	err = errors.Join(selfTest(dir, o), os.RemoveAll(dir))
	if err != nil {
		return fmt.Errorf("self-test of the store: this machine would lose what it stores: %w", err)
	}
	if err := os.WriteFile(mark, []byte(o.Version+"\n"), 0o600); err != nil {
		o.Log.Warn("self-test of the store will be made again", "err", err)
	}
	return nil
}

func selfTest(dir string, o *Options) (err error) {
	opts := badgerOptions(dir, 0, 2, o.Log).WithSyncWrites(false)
	db, err := badger.Open(opts)
	if err != nil {
		return err
	}
	for i := range uint64(testValues) {
		if err := db.Update(func(txn *badger.Txn) error { return txn.Set(testPair(i)) }); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	if err := errors.Join(db.Flatten(1), db.Close()); err != nil {
		return err
	}
	if db, err = badger.Open(opts); err != nil {
		return err
	}
	for i := range uint64(testValues) {
		err := db.View(func(txn *badger.Txn) error {
			key, want := testPair(i)
			item, err := txn.Get(key)
			if err != nil {
				return fmt.Errorf("value %d of %d: %w", i, testValues, err)
			}
			return item.Value(func(got []byte) error {
				if !bytes.Equal(got, want) {
					return fmt.Errorf("value %d of %d is not what was written", i, testValues)
				}
				return nil
			})
		})
		if err != nil {
			return errors.Join(err, db.Close())
		}
	}
	return db.Close()
}

// testPair returns a key and a value that does not repeat, of a size between nothing and a frame's.
func testPair(i uint64) (key, value []byte) {
	r := rand.New(rand.NewPCG(1, i))
	for n := r.IntN(stored.MaxFrame); len(value) < n; {
		value = binary.LittleEndian.AppendUint64(value, r.Uint64())
	}
	return binary.BigEndian.AppendUint64([]byte("t"), i), value
}
