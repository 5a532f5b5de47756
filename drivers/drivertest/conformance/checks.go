package conformance

import (
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// checks returns all checks in the order in which they run. Those with a run of their own come first where others need what they
// find out; those without one are watched all the time.
func checks() []Check {
	return []Check{
		{"name", "name the driver like its folder: lower case, a-z 0-9 . _ -", (*exam).checkName},
		{"fresh-config", "let New build a new Config each time, with slices and maps of its own", (*exam).checkFresh},
		{"sample", "make Sample one block or a list of blocks as under `devices:`, that decodes strictly and validates", (*exam).checkSample},
		{"texts", "write for the technician: Doc says what is served and what not, each Meaning is one line", (*exam).checkTexts},
		{"channels", "declare every channel once, by a name that topics can carry", (*exam).checkChannels},
		{"units", "use a symbol that `go doc -u github.com/tidegate-io/tidegate units` lists, or name it in Options.Units", (*exam).checkUnits},
		{"settings", "give every exported field of Config a yaml tag and a doc tag of one line", (*exam).checkSettings},
		{"validate-pure", "let Validate look at the settings only: no change, no waiting, the same answer each time, no panic", (*exam).checkPure},
		{"field-errors", "name in each FieldError a setting that there is, and the problem in lower case without a full stop", nil},
		{"open-broken", "let Open return an error for settings that Validate lets pass and that do not work", (*exam).checkOpenBroken},

		{"good-device", "read a good device: check the driver, or Options.Far", (*exam).checkGood},
		{"outcome", "return from Read either readings and a nil error, or an error and no readings; from Open a device or an error", nil},
		{"declared", "declare in Channels or Channeler what Read reports, with the same unit", nil},
		{"kinds", "report a Value of the kind that is declared, or a Fault", nil},
		{"finite", "report NaN and infinities as a Fault: no device measures them", nil},
		{"device-blank", "leave Reading.Device empty: the agent knows the name", nil},
		{"errors", "word errors as verb object: cause, on one line, with what was got and what was wanted", nil},

		{"open-in-time", "let Open return within a few seconds, and leave waiting to Read", nil},
		{"open-done", "give Open's ctx to all that Open does", (*exam).checkOpenDone},
		{"no-hardware", "report an error, or faults, when what the settings name is not there", (*exam).checkNowhere},
		{"read-ends", "end Read within 100 ms of its ctx, with an error wrapping ctx.Err(): do all I/O in Bus.Do or I2CPart.Do with that ctx, and wait with I2CPart.Wait", (*exam).checkReadEnds},
		{"read-done", "look at ctx before anything else in Read", (*exam).checkReadDone},
		{"close-in-time", "let Close give back and return: what was opened through Host ends by itself", nil},
		{"close-unread", "let Close work on a device that was never read", (*exam).checkCloseUnread},
		{"close-twice", "let a second Close do nothing", (*exam).checkCloseTwice},
		{"read-after-close", "remember that the device is closed, and return an error from Read", (*exam).checkReadAfterClose},
		{"reopen", "keep nothing from one Open to the next", (*exam).checkReopen},
		{"goroutines", "start none, or end them in Close", nil},
		{"quiet", "write nothing to standard output, standard error or a log: return errors", (*exam).checkQuiet},
		{"setter", "declare channels with Output if and only if the device is a Setter; refuse other channels and kinds", (*exam).checkSetter},
		{"set-while-reading", "hold no mutex while Read waits: Set may come at any time", (*exam).checkSetWhileReading},

		{"silence", "set a deadline for each answer, and report an error when it is over; only who never asks may wait for ever", (*exam).checkSilence},
		{"garbage", "check frames before using them", noDevice(drivertest.Noise(1024, 64<<10, time.Millisecond, drivertest.Random()))},
		{"nul-bytes", "refuse what a dead adapter sends: zeros are no value", noDevice(drivertest.Noise(1024, 64<<10, time.Millisecond, drivertest.Always(0)))},
		{"ff-bytes", "refuse what an open line reads as: 0xff is no value", noDevice(drivertest.Noise(1024, 64<<10, time.Millisecond, drivertest.Always(0xff)))},
		{"flood", "bound what is kept of bytes without an end of frame", (*exam).checkFlood},
		{"spin", "wait in Read of the port with a deadline instead of asking again and again", nil},
		{"half-frames", "use whole frames only, and drop a half one after a pause", disturbed(false, 3, 10*time.Second, drivertest.Halves)},
		{"split-reads", "collect a frame from several Reads of the port", disturbed(true, 3, 0, drivertest.Splits)},
		{"slow-bytes", "collect a frame however slowly it comes, or give up", disturbed(false, 3, 0, drivertest.Slowly)},
		{"noise-before-frames", "look for the frame behind noise, or drop both", disturbed(false, 3, 0, drivertest.Noisily)},
		{"flipped-bits", "compare the checksum before anything else; if frames have none, say so by Options.IsUnchecked", (*exam).checkFlipped},
		{"late-replies", "drop what is left over of an earlier request before the next (drivers.Drop)", (*exam).checkLate},
		{"double-frames", "take no answer for one to another request", disturbed(false, 3, 0, drivertest.Doubly)},
		{"recovery", "serve again when the line is good again: let nothing that a disturbance left stay for ever", nil},
		{"unplug", "return the port's error, which wraps ErrGone, at once", (*exam).checkUnplug},
		{"replug", "serve again after the port was gone, or return an error wrapping ErrGone to be opened anew", nil},
		{"two-devices", "keep all state in the Device: no package variables", (*exam).checkTwo},
	}
}

// recoverReads is how many Reads may be without a value when a disturbance is over.
const recoverReads = 30

// noDevice returns a check in which machine h has no device.
func noDevice(h func(*drivertest.Host)) func(*exam) {
	return func(x *exam) { x.bubble(h, func(r *run) { r.reads(6, nothing) }) }
}

// disturbed returns a check in which every burst of a good device becomes what f makes of it. With mustWork all its values have to
// come all the same; else it is enough that no others come. It is read `times` times as often as the good one, with a pause between
// two Reads. Then the disturbance ends, and values have to come again.
func disturbed(mustWork bool, times int, pause time.Duration, f drivertest.Mangle) func(*exam) {
	return func(x *exam) {
		var isOver atomic.Bool // a driver may read the port in a goroutine
		x.bubble(drivertest.Disturb(func(n int, b []byte) []drivertest.Piece {
			if isOver.Load() {
				return []drivertest.Piece{{Bytes: b}}
			}
			return f(n, b)
		}), func(r *run) {
			values := 0
			for range times * x.o.Reads {
				values += r.reads(1, known)
				if r.dev == nil {
					return
				}
				wait(pause)
			}
			if mustWork && values == 0 && len(x.sent) > 0 {
				x.report("no value comes")
			}
			isOver.Store(true) // what is left of it comes yet
			for n := 0; len(x.found) == 0 && len(x.sent) > 0 && r.reads(1, known) == 0; n++ {
				if n == recoverReads || r.dev == nil {
					x.reportAs("recovery", "no value comes in %d Reads of a good device", n)
				}
			}
		})
	}
}
