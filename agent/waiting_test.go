package agent

import (
	"testing"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
)

func TestWaitingBytes(t *testing.T) {
	segments := []buffer.SegmentStats{
		{Name: "reading/0/0", Records: 100, Bytes: 1000}, {Name: "reading/0/1", Records: 50, Bytes: 2500}, {Name: "alarm/0/0", Records: 10, Bytes: 700},
	}
	for name, tt := range map[string]struct {
		readings, alarms uint64
		want             int64
	}{
		"nothing":                           {0, 0, 0},
		"half of the newest segment":        {25, 0, 1250},
		"the newest and some of the other":  {60, 0, 2600},
		"an alarm":                          {0, 1, 70},
		"all that is on disk":               {150, 10, 4200},
		"all, what is in memory included":   {155, 10, 4300},
		"alarms in memory, readings are on": {25, 11, 2050},
	} {
		c := buffer.CursorStats{}
		c.Buffered[tidegate.ClassReading].Records, c.Buffered[tidegate.ClassAlarm].Records = tt.readings, tt.alarms
		if got := waiting(&buffer.Stats{Bytes: 4300, Segments: segments}, &c); got != tt.want {
			t.Errorf("%s: %d bytes, want %d", name, got, tt.want)
		}
	}
}
