package agent

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBudgetForgives(t *testing.T) {
	now := time.Unix(0, 0)
	var b budget
	for i, tt := range []struct {
		after time.Duration
		spend bool
		want  int
	}{
		{0, true, 1},
		{time.Minute, true, 2},
		{58 * time.Minute, false, 2},
		{time.Minute, false, 1},
		{time.Minute, true, 2},
		{58 * time.Minute, false, 2},
		{time.Minute, false, 1},
		{24 * time.Hour, false, 0},
		{0, true, 1},
		{59 * time.Minute, false, 1},
		{time.Minute, false, 0},
	} {
		now = now.Add(tt.after)
		if b.forgive(now, time.Hour); tt.spend {
			b.spend(now, time.Hour)
		}
		if b.spent != tt.want {
			t.Errorf("step %d: %d are spent, want %d", i, b.spent, tt.want)
		}
	}
}

// TestSluiceBounds lets through what a device may report in any stretch of time, and no more.
func TestSluiceBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s sluice
		began := time.Unix(1000, 0)
		now, readings, bytes := began, 0, 0
		for range rapid.IntRange(1, 200).Draw(t, "puts") {
			now = now.Add(time.Duration(rapid.IntRange(0, int(100*time.Millisecond)).Draw(t, "pause")))
			n, size := rapid.IntRange(1, 1000).Draw(t, "n"), rapid.IntRange(1, maxBody).Draw(t, "size")
			free := s.until.Sub(now) <= floodBurst/2
			took := s.take(now, n, size)
			if free && !took {
				t.Fatalf("a record of %d readings and %d bytes is dropped although the device was waited for", n, size)
			}
			if took {
				readings, bytes = readings+n, bytes+size
			}
			most := (now.Sub(began) + floodBurst).Seconds()
			if float64(readings) > most*floodReadings || float64(bytes) > most*floodBytes {
				t.Fatalf("%d readings, %d bytes in %v", readings, bytes, now.Sub(began))
			}
		}
	})
}
