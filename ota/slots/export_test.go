package slots

import (
	"time"

	"github.com/tidegate-io/tidegate/ota/durable"
)

// OpenWith is Open with a clock, a look at each step and less patience.
func OpenWith(dir string, builtin Builtin, step func(what, path string) error, clock func() (boot string, ms int64)) (*Slots, error) {
	s := &Slots{dir: dir, builtin: builtin, disk: durable.Disk{Step: step}, clock: now, space: space, patience: time.Millisecond, grace: time.Second}
	if clock != nil {
		s.clock = func() (i instant) { i.boot, i.ms = clock(); return i }
	}
	return s, s.open()
}

// Read returns what is chosen as a whole, from the file that was opened.
func (c *Choice) Read() ([]byte, error) {
	if c.file == nil {
		return nil, nil
	}
	b := make([]byte, c.Length)
	_, err := c.file.ReadAt(b, 0)
	_ = c.file.Close()
	return b, err
}

// DecodeTrial and DecodeRecord read records.
func DecodeTrial(b []byte) (t Trial, err error) { err = decode(b, &t); return t, err }

func DecodeRecord(b []byte) (p Program, s string, err error) {
	var r record
	err = decode(b, &r)
	return r.Program, r.State, err
}

// Space is space.
func Space(dir string, want int64) error { return space(dir, want) }

// StartOf is startOf.
func StartOf(pid int) (uint64, error) { return startOf(pid) }

// Change changes the record of the trial, as another process would have written it.
func (s *Slots) Change(change func(t *Trial)) error {
	return s.change("test", func(v *view) error { change(&v.trial); return v.pair.write(&v.trial) })
}

// Free has so many bytes free on disk.
func (s *Slots) Free(bytes int64) {
	s.space = func(_ string, want int64) error {
		if want > bytes {
			return ErrSpace
		}
		return nil
	}
}
