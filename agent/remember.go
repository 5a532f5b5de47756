package agent

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/memory"
)

// openMemory opens what devices keep over restarts: beside the rings where these are on tmpfs, under the id of the state directory that they
// belong to, and in the state directory.
func (a *Agent) openMemory(l *opened) *memory.Keeper {
	o := memory.Options{
		Slow: filepath.Join(a.sits.dir, "memory"), Log: a.log,
		Trouble: func(err error) {
			a.board.set("memory_failed", "", err != nil, fmt.Sprint(err))
			if err != nil {
				a.log.Error("what devices keep cannot be written", "err", err)
			}
		},
	}
	if l.rings.Volatile == nil {
		o.Fast = filepath.Join(a.parts.RingDir, "memory-"+hex.EncodeToString(l.state[:4]))
	}
	return memory.Open(o)
}

// forgot reports that what the device kept over a restart may be older than what it stored last.
func (r *reader) forgot(of time.Time) {
	r.say.Lock()
	defer r.say.Unlock()
	now := r.clock()
	text := fmt.Sprintf("the gateway was not stopped cleanly: what the device keeps is as of %s, and what it counted after that, for up to a minute, is lost",
		of.UTC().Format(time.RFC3339))
	r.log.Warn("device has lost what it kept", "device", r.name, "of", of)
	r.putLocked([]tidegate.Reading{{Device: r.name, Channel: FaultChannel, Fault: text}}, now)
}
