//go:build !linux

package mqtt

import "syscall"

// limitUnacked does nothing where there is no TCP_USER_TIMEOUT; the keep-alive finds a dead peer, later.
func limitUnacked(_, _ string, _ syscall.RawConn) error { return nil }
