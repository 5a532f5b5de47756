package wear

import "time"

// A Pace is how the gateway writes so that the card lasts. Alarms are written as ever.
type Pace struct {
	Sync time.Duration // the least time between two commits; 0 = as configured
	Thin time.Duration // of each channel one reading in this time is kept; 0 = all
	Drop bool          // no readings are kept; they are counted and declared
}

// steps are how much the brake is put on, one step at a time; the last one only where the limit is reached.
var steps = [...]Pace{
	{},
	{Sync: 2 * time.Second},
	{Sync: MaxSync},
	{Sync: MaxSync, Thin: 10 * time.Second},
	{Sync: MaxSync, Thin: time.Minute},
	{Sync: MaxSync, Thin: 10 * time.Minute},
	{Sync: MaxSync, Drop: true},
}

// MaxSync is the longest time between two commits that the brake asks for.
const MaxSync = 5 * time.Second

// brake puts the brake on or off. With each quarter of an hour it goes one step: on where a day like that would be over the limit, off where it would be half
// the limit, and the last day was well below it. Where the limit is reached no more readings are kept until a quarter has begun in which it is not.
func (w *Wear) brake(isQuarter bool) {
	const last = len(steps) - 1
	full, ahead := w.LastDay() >= w.limit, w.Projected()
	switch {
	case w.limit == 0:
		w.step = 0
	case full:
		w.step = last
	case !isQuarter:
	case w.step == last:
		w.step--
	case ahead > w.limit:
		w.step = min(w.step+1, last-1)
	case w.step > 0 && ahead < w.limit/2 && w.LastDay() < w.limit/4*3:
		w.step--
	}
}

// Pace returns how to write now.
func (w *Wear) Pace() Pace { return steps[w.step] }
