package ota

import "time"

// SetCycle sets how long a Fetch may take.
func (u *Updater) SetCycle(d time.Duration) { u.cycle = d }
