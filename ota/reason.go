package ota

import (
	"errors"

	"github.com/tidegate-io/tidegate/ota/delta"
	"github.com/tidegate-io/tidegate/ota/fetch"
	"github.com/tidegate-io/tidegate/ota/release"
	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/trust"
)

// reasons are the names of what packages do not name themselves.
var reasons = []struct {
	err  error
	name string
}{
	{slots.ErrKnown, "known-bad"},
	{slots.ErrELF, "no-elf"},
	{slots.ErrNoExec, slots.NoExec},
	{slots.ErrCounter, "not-newer"},
	{slots.ErrSpace, "no-space"},
	{slots.ErrHash, "wrong-hash"},
	{slots.ErrLength, "wrong-length"},
	{slots.ErrTrial, "on-trial"},
	{slots.ErrExpired, "expired-trial"},
	{slots.ErrNoTrial, "no-trial"},
	{slots.ErrUnstarted, "not-started"},
	{slots.ErrNothing, "nothing-staged"},
	{slots.ErrBusy, "busy"},
	{ErrBusy, "busy"},
	{delta.ErrFrame, "bad-frame"},
	{delta.ErrLength, "wrong-length"},
}

// Reason returns the short name of why a release was not taken, as status, records and logs have it; "" = err is nil. README.md lists them.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	if name := trust.Reason(err); name != "" && name != "missing" { // what a place does not have, package fetch says more exactly
		return name
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	if name := release.Reason(err); name != "" {
		return name
	}
	return fetch.Reason(err)
}
