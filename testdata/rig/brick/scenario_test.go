package brick

// A scenario is what is done to a gateway. Commands are run one after the other, as systemd, the gateway's timer and people do; told is how things
// stand when the one of the same place has returned, and holds over any cut from then on. Before and within it either that or what was before may be
// found.
type scenario struct {
	name   string
	kind   string // of release 13, see kinds
	fresh  bool   // on a gateway that never had an update; else release 12 has proved itself on it, over 11
	before string // how things stand then
	// given is what has been done before, and is not looked at.
	given func(w *world)
	// commands change the state directory, and are plain command lines.
	commands func(w *world) [][]string
	told     []string
	damaged  bool     // something is, and that is said
	mayLose  []string // what comes below these folders a cut may take: it is thrown away again, or shorter than what a cut may cost
}

const (
	kept12 = "kept 12, told, starts 12"
	kept13 = "kept 13, starts 13"
	well13 = "kept 13, told, starts 13"
	on13   = "running 13, starts 13"
	gone13 = "failed 13, starts 12"
	told13 = "failed 13, told, starts 12"
)

// scenarios are the ways that an update goes.
var scenarios = []scenario{
	{
		name: "first update, whole, over HTTPS", kind: "whole", fresh: true, before: " 0, starts 10",
		told: []string{" 0, starts 10", "running 13, starts 13", kept13, well13},
		commands: func(w *world) [][]string {
			return [][]string{w.fetch("whole/13"), w.apply("whole/13"), w.live("whole/13"), w.live("whole/13")}
		},
	},
	{
		name: "by a delta, over HTTPS", kind: "delta", before: kept12, told: []string{kept12, on13, kept13, well13}, mayLose: []string{"ota/download"},
		commands: func(w *world) [][]string {
			return [][]string{w.fetch("delta/13"), w.apply("delta/13"), w.live("delta/13"), w.live("delta/13")}
		},
	},
	{
		name: "update import, from a directory", kind: "whole", before: kept12, told: []string{kept12, on13, kept13},
		commands: func(w *world) [][]string {
			return [][]string{w.bring("whole/13"), w.apply("whole/13"), w.live("whole/13")}
		},
	},
	{
		name: "with rotated keys", kind: "rotated", before: kept12, told: []string{kept12, on13, kept13},
		commands: func(w *world) [][]string {
			return [][]string{w.fetch("rotated/13"), w.apply("rotated/13"), w.live("rotated/13")}
		},
	},
	{
		name: "over damaged metadata, floors and records", kind: "whole", before: kept12, told: []string{kept12, on13, kept13}, damaged: true,
		given: func(w *world) {
			w.spoil("tuf/timestamp.json", "tuf/targets.json", "floors.1", "slots/b/release.0", "trial.1")
		},
		commands: func(w *world) [][]string {
			return [][]string{w.fetch("whole/13"), w.apply("whole/13"), w.live("whole/13")}
		},
	},
	{
		name: "a signed script", kind: "script", before: kept12, told: []string{kept12, kept12}, mayLose: []string{"ota/download", "ota/slots/a"},
		commands: func(w *world) [][]string {
			return [][]string{w.fetch("script/13"), w.fetch("script/13")}
		},
	},
	{
		name: "gives up", kind: "bad", before: on13, told: []string{gone13, told13}, given: onTrial("bad/13"),
		commands: func(w *world) [][]string { return [][]string{w.live("bad/13"), w.live("bad/13")} },
	},
	{
		name: "crashes", kind: "crashes", before: on13, told: []string{on13, on13, gone13, gone13, told13}, given: onTrial("crashes/13"),
		commands: func(w *world) [][]string {
			live := w.live("crashes/13")
			return [][]string{live, live, live, w.launch("report"), live}
		},
	},
	{
		name: "expires", kind: "whole", before: on13, told: []string{gone13, gone13}, given: onTrial("whole/13"),
		commands: func(w *world) [][]string {
			// Two hours later, by a clock of its own (time_namespaces(7)).
			expire := []string{"/usr/bin/unshare", "--time", "--boottime", "7200", w.bin + "/tidegate-launch", "expire", "--state", w.state, "--lib", w.lib}
			return [][]string{expire, w.launch("report")}
		},
	},
	{
		name: "rolled back by hand", kind: "whole", before: on13, told: []string{gone13}, given: onTrial("whole/13"),
		commands: func(w *world) [][]string { return [][]string{w.tidegate("rollback", w.config("whole/13"))} },
	},
}

// onTrial brings a gateway to the start of a trial.
func onTrial(shelf string) func(w *world) {
	return func(w *world) { w.well(w.apply(shelf)) }
}

// may returns what may be found within a command, or, behind it, when it has said that it is done.
func (s *scenario) may(command int, done bool) []string {
	now, past := s.told[command], s.before
	if command > 0 {
		past = s.told[command-1]
	}
	if done || now == past {
		return []string{now}
	}
	return []string{past, now}
}
