package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// What rules and Telegraf's Starlark processor judge: both programs are built with this file.
const (
	streamChannels = 1000
	streamWarm     = 2 * time.Minute // of the stream, before it is measured
	raiseAbove     = 80
	clearBelow     = 75
	averageLimit   = 72.0305 // no average of 60 readings in tenths
)

// streamBegin is a whole minute, so that the windows of both are the same.
var streamBegin = time.Unix(1_800_000_000, 0).UTC()

// A stream is what one program is asked to judge: once a second a reading of each channel, as records (Reads, metrics) of so many readings.
type stream struct {
	seed    uint64
	seconds int
	size    int
	bare    bool // the readings are made, and not judged
}

// args are the arguments that parseStream reads.
func (s stream) args() []string {
	return []string{strconv.FormatUint(s.seed, 10), strconv.Itoa(s.seconds), strconv.Itoa(s.size), strconv.FormatBool(s.bare)}
}

func parseStream(args []string) (s stream, err error) {
	if len(args) != 4 {
		return s, fmt.Errorf("got %d arguments, want seed, seconds, size and whether readings are made only", len(args))
	}
	_, err = fmt.Sscan(args[0]+" "+args[1]+" "+args[2]+" "+args[3], &s.seed, &s.seconds, &s.size, &s.bare)
	return s, err
}

// A told is an alarm.
type told struct {
	Second  int64 // since streamBegin
	Channel string
	Rule    string  // limit or average
	Raised  bool    // else cleared
	Value   float64 // the reading, or the average, that decided
}

// An answer is what one program made of a stream.
type answer struct {
	Readings int
	CPU      float64 // seconds of all threads
	Alarms   []told
	State    int // bytes of changed state that were made
}

// valueAt returns what channel c reads in a second: a triangle of 20 minutes from 60 to 90 with noise of 2, in tenths.
func valueAt(seed uint64, c, second int) float64 {
	x := seed + uint64(c)*0x9e3779b97f4a7c15 + uint64(second)*0xbf58476d1ce4e5b9
	x ^= x >> 31
	x *= 0x94d049bb133111eb
	x ^= x >> 29
	const period, tenths = 1200, 300
	at := (second + c*7) % period
	up := at * 2 * tenths / period
	if up > tenths {
		up = 2*tenths - up
	}
	return float64(600+up+int(x%41)-20) / 10
}

// A judging is one of the two.
type judging interface {
	// put puts values into the record of a device.
	put(device int, at time.Time, values []float64)
	// judge judges it.
	judge(device int) error
	// answer returns what was found since streamBegin.
	answer() answer
}

// run lets j judge the stream and writes the answer to standard output.
func (s stream) run(j judging) error {
	values := make([]float64, s.size)
	var begin time.Duration
	warm := int(streamWarm / time.Second)
	n := 0
	for second := range warm + s.seconds {
		if second == warm {
			begin = cpuTime()
		}
		at := streamBegin.Add(time.Duration(second) * time.Second)
		for d := range streamChannels / s.size {
			for i := range values {
				values[i] = valueAt(s.seed, d*s.size+i, second)
			}
			j.put(d, at, values)
			if s.bare {
				continue
			}
			if err := j.judge(d); err != nil {
				return err
			}
		}
		if second >= warm {
			n += streamChannels / s.size * s.size
		}
	}
	a := j.answer()
	a.CPU, a.Readings = (cpuTime() - begin).Seconds(), n
	return json.NewEncoder(os.Stdout).Encode(a)
}

// cpuTime returns the processor time of all threads of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // its arguments are right
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
