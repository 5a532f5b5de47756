// Package quota says which class of records gives way when space ends. It is pure: it is told sizes, and knows nothing of what is stored.
package quota

import (
	"slices"

	"github.com/tidegate-io/tidegate"
)

// Overflow says what becomes of a class that has no room.
type Overflow uint8

// What can become of it.
const (
	DropOldest Overflow = iota // the oldest goes
	DropNewest                 // what is new is not taken
	Thin                       // the oldest is replaced by its summary, and only then goes
)

// A Class is what one class of records may take.
type Class struct {
	Percent  int // of the bytes for records, 1 to 100; 0 = what the other classes leave
	Overflow Overflow
}

// A Plan is what all classes may take; index = tidegate.Class. Its percents are at most 100 together.
type Plan [tidegate.ClassDebug + 1]Class

// Sizes are bytes by class; index = tidegate.Class.
type Sizes [tidegate.ClassDebug + 1]int64

// Default returns the usual Plan: 10 % are the alarms', 5 % what the gateway says of itself, 5 % what stays on it, and the rest is for readings.
func Default() Plan {
	return Plan{tidegate.ClassAlarm: {Percent: 10}, tidegate.ClassAudit: {Percent: 5}, tidegate.ClassDebug: {Percent: 5}}
}

// Order returns the classes in the order in which they give way.
func Order() [4]tidegate.Class {
	return [...]tidegate.Class{tidegate.ClassDebug, tidegate.ClassReading, tidegate.ClassAudit, tidegate.ClassAlarm}
}

// Share returns how many of budget bytes are kept for class.
func (p *Plan) Share(class tidegate.Class, budget int64) int64 {
	percent, left, unset := int64(p[class].Percent), int64(100), int64(0)
	if percent > 0 {
		return budget / 100 * percent
	}
	for _, c := range Order() {
		if left -= int64(p[c].Percent); p[c].Percent == 0 {
			unset++
		}
	}
	return budget / 100 * max(left, 0) / unset
}

// Over reports whether class takes more than its share.
func (p *Plan) Over(class tidegate.Class, used *Sizes, budget int64) bool {
	return used[class] > p.Share(class, budget)
}

// Refuses reports whether nothing new of class is to be taken. A class that drops its newest has its share and no more: what it had borrowed it could
// not give back.
func (p *Plan) Refuses(class tidegate.Class, used *Sizes, budget int64) bool {
	return p[class].Overflow == DropNewest && p.Over(class, used, budget)
}

// Yields returns the classes of which something goes, in the order in which it is to be tried; none where all fits into budget. Space that a class
// does not use is used by others, and given back when it is wanted. What alarms have borrowed they keep until the others are down to half of
// their share, so that no flood of readings pushes them out.
func (p *Plan) Yields(used *Sizes, budget int64) (list []tidegate.Class) {
	var total int64
	for _, n := range used {
		total += n
	}
	if total <= budget {
		return nil
	}
	for part := int64(1); part <= 2; part++ {
		for _, c := range Order() {
			if c != tidegate.ClassAlarm && used[c] > p.Share(c, budget)/part && !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
	}
	if p.Over(tidegate.ClassAlarm, used, budget) {
		list = append(list, tidegate.ClassAlarm)
	}
	return slices.DeleteFunc(list, func(c tidegate.Class) bool { return p[c].Overflow == DropNewest })
}
