package agent

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// A condition is one row of the table of all that a gateway can be in.
type condition struct {
	code     string
	severity string // "info", "warning" or "error"
	title    string
	remedy   string
	depends  string // another condition that explains this one, which is then not shown
}

// conditions is every condition there is. A condition of one device or uplink is shown as "code:name".
var conditions = []condition{
	{"safe_mode", "error", "the gateway runs its last resort: it reads and buffers, and does nothing else", "see `tidegate update status`; a good release, or the newest package, mends it", ""},
	{"no_disk", "error", "no disk can be written: readings are kept in memory, and sent from there", "look at the detail; mount the disk for writing, replace it, or set state_dir to a directory that the gateway may write", ""},
	{"disk_full", "error", "the disk is full; new readings wait in memory", "free space on the disk that holds the state directory", ""},
	{"store_failed", "error", "the store does not take records; they wait in memory", "look at the detail; a worn-out or read-only card must be replaced", ""},
	{"store_waits", "error", "the store cannot be opened yet; readings wait in memory", "free space on the disk that holds the state directory", ""},
	{"buffer_key", "error", "the buffer is sealed with a key that is not there; readings wait in memory, and rules are not judged", "put the key where the detail says, or name the file that has it at buffer.key or buffer.old_keys; nothing on the disk is lost meanwhile", ""},
	{"store_damaged", "error", "the buffer was damaged and is set aside; what was not delivered is declared as a gap", "look for the cause (dmesg, a worn-out card); keep the directory named in the detail if its readings matter, else delete it", ""},
	{"card_wear", "warning", "more would be written to the card a day than buffer.written_per_day allows; less is kept", "look at the detail; lengthen buffer.sync, read less often, let rules filter what does not change, or raise buffer.written_per_day", ""},
	{"card_slow", "warning", "the card has become slow for days, as cards do before they fail", "look at the detail; replace the card soon, and see dmesg for errors of it", "store_failed"},
	{"rings_volatile", "warning", "readings are not safe against a crash of the process until they are on disk", "give the service a directory on tmpfs (RuntimeDirectory=tidegate in the unit, or /dev/shm)", ""},
	{"limit_shrunk", "warning", "the file system is smaller than buffer.max_bytes needs", "lower buffer.max_bytes or move state_dir to a larger disk", "disk_full"},
	{"dropped", "warning", "readings were dropped and declared as a gap in the last hour", "find out why the uplink or the disk was down for so long, or raise buffer.max_bytes", ""},
	{"device_fault", "warning", "a device cannot be read", "look at the detail; check power, wiring and address", ""},
	{"device_off", "error", "a device is off: its driver has hung or panicked too often", "report the driver's fault with the log; restart the gateway, or change the device's block and reload, to try the device at once", ""},
	{"device_flood", "warning", "a device reports more than a gateway can take from one; it is slowed down", "look at the detail; find out why it reports so much, or read it less often", ""},
	{"output_fault", "error", "an output is not what was demanded of it; what can be tried again is", "look at the detail; check the rules, power, wiring and address", ""},
	{"output_waits", "info", "an interlock holds an output back for now", "nothing needs to be done; the detail says for how long", ""},
	{"output_unsure", "warning", "an output is not switched on, as another one may be on that excludes it", "look at the detail; set the other output to false, or mend its device", ""},
	{"memory_failed", "warning", "what devices keep over restarts, totals of counters for instance, cannot be written; a power cut would cost it", "look at the detail; free space on the disk that holds the state directory, or replace a worn-out card", ""},
	{"update_trial", "info", "a new release is on trial", "nothing needs to be done; it is kept when all that was healthy is so again", ""},
	{"update_failed", "warning", "the last release was given up, the one before runs", "see `tidegate update status`; it is not tried again, a newer one is", ""},
	{"update_refused", "warning", "releases are not taken", "see the detail, and `tidegate update check`", ""},
	{"uplink_down", "warning", "the uplink is down; readings are buffered", "check network, address and credentials; nothing is lost meanwhile", ""},
	{"uplink_refused", "error", "the far side refused records; they are set aside", "see `tidegate queue rejected`", ""},
	{"clock_unsynced", "info", "the clock is not synchronised; times are estimates", "give the gateway a time source (NTP, GNSS)", ""},
}

// A board keeps the conditions that hold now. It is safe for concurrent use.
type board struct {
	mu     sync.Mutex // guards active
	active map[string]status.Condition
	now    func() time.Time
}

func newBoard(now func() time.Time) *board {
	return &board{active: map[string]status.Condition{}, now: now}
}

// set says whether the condition holds, with a detail for people. name is the device or uplink concerned, "" = the gateway.
func (b *board) set(code, name string, holds bool, detail string) {
	b.setSince(code, name, holds, detail, b.now())
}

// setSince is set for a condition of which it is known since when it holds.
func (b *board) setSince(code, name string, holds bool, detail string, since time.Time) {
	key := code
	if name != "" {
		key += ":" + name
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old, was := b.active[key]
	if !holds {
		delete(b.active, key)
		return
	}
	i := slices.IndexFunc(conditions, func(c condition) bool { return c.code == code })
	if i < 0 {
		return
	}
	c := conditions[i]
	if was {
		since = old.Since
	}
	b.active[key] = status.Condition{Code: key, Severity: c.severity, Title: c.title, Remedy: c.remedy, Detail: detail, Since: since}
}

// list returns the conditions that hold and are not explained by others, the worst first.
func (b *board) list() []status.Condition {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []status.Condition{}
	for key, c := range b.active {
		code, _, _ := strings.Cut(key, ":")
		i := slices.IndexFunc(conditions, func(c condition) bool { return c.code == code })
		if _, explained := b.active[conditions[i].depends]; !explained {
			out = append(out, c)
		}
	}
	rank := func(s string) int { return strings.Index("error warning info", s) }
	slices.SortFunc(out, func(a, b status.Condition) int {
		if d := rank(a.Severity) - rank(b.Severity); d != 0 {
			return d
		}
		return strings.Compare(a.Code, b.Code)
	})
	return out
}
