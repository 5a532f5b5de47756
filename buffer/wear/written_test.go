package wear

import (
	"testing"
	"time"
)

// TestWrittenOf reads what the kernel writes of a process.
func TestWrittenOf(t *testing.T) {
	const text = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 81920\ncancelled_write_bytes: 8192\n"
	if got := writtenOf(text); got != 73728 {
		t.Errorf("got %d, want 73728", got)
	}
	if got := writtenOf("write_bytes: 1\ncancelled_write_bytes: 2\n"); got != 0 {
		t.Errorf("more cancelled than written: got %d, want 0", got)
	}
	if got := writtenOf(""); got != 0 {
		t.Errorf("nothing said: got %d, want 0", got)
	}
}

// TestJournal: one transaction for each commit that goes on to new blocks, and one each five seconds in which anything is written.
func TestJournal(t *testing.T) {
	for _, x := range []struct {
		name  string
		every time.Duration
		size  int
		want  int // transactions in a minute
	}{
		{"small commits each second", time.Second, 512, 15},
		{"small commits each half a minute", 30 * time.Second, 512, 2},
		{"half a block each second", time.Second, 2048, 30},
		{"a block each second", time.Second, 4096, 60},
		{"many blocks each second", time.Second, 40_000, 60},
	} {
		var j Journal
		at := 1000 * time.Second
		for range int(time.Minute / x.every) {
			j.note(at, x.size)
			at += x.every
		}
		if got := int(j.bytes.Load() / journalBytes); got < x.want-1 || got > x.want+1 {
			t.Errorf("%s: got %d transactions, want %d", x.name, got, x.want)
		}
	}
}
