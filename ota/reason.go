package ota

import (
	"errors"

	"github.com/tidegate-io/tidegate/ota/delta"
	"github.com/tidegate-io/tidegate/ota/fetch"
	"github.com/tidegate-io/tidegate/ota/release"
	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/trust"
)

// reasons are the names of what releases are refused for, in the order in which they count where several are wrapped: what is certain before
// what may only have followed from it.
var reasons = []struct {
	err  error
	name string
}{
	{trust.ErrNoTrust, "no-trust"},
	{trust.ErrSignature, "bad-signature"},
	{trust.ErrRollback, "rollback"},
	{trust.ErrExpired, "expired"},
	{trust.ErrDelegation, "delegated"},
	{trust.ErrMalformed, "malformed"},
	{trust.ErrChanged, "changed"},
	{trust.ErrVersion, "wrong-version"},
	{trust.ErrName, "bad-name"},
	{trust.ErrRoots, "too-many-roots"},
	{slots.ErrKnown, "known-bad"},
	{slots.ErrELF, "no-elf"},
	{slots.ErrCounter, "not-newer"},
	{slots.ErrSpace, "no-space"},
	{slots.ErrHash, "wrong-hash"},
	{slots.ErrLength, "wrong-length"},
	{slots.ErrTrial, "on-trial"},
	{slots.ErrExpired, "expired-trial"},
	{slots.ErrNoTrial, "no-trial"},
	{slots.ErrNothing, "nothing-staged"},
	{slots.ErrBusy, "busy"},
	{ErrBusy, "busy"},
	{trust.ErrHash, "wrong-hash"},
	{trust.ErrLength, "wrong-length"},
	{delta.ErrFrame, "bad-frame"},
	{delta.ErrLength, "wrong-length"},
}

// Reason returns the short name of why a release was not taken, as status, records and logs have it; "" = err is nil. README.md lists them.
func Reason(err error) string {
	if err == nil {
		return ""
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
