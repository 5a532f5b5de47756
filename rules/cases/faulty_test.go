package cases

// faulty are files that cannot be used, or one of their cases, and what is said of them.
var faulty = []struct{ text, want string }{
	{
		`channels: {m.t: {}, n.t: {every: 1s}}
rules: [{name: r, when: m.t > 1, do: [{interval: {device: m, every: 100ms}}]}]
cases: [{name: a, steps: [{at: 0s, m.t: 1}], want: [{at: 0s, interval: {m: 0s}}, {at: 0s, interval: {m: 100}}, {at: 0s, interval: {m: ever}}]}]`,
		`t:3:76: cases[0].want[0].interval.m: an interval is wanted (got 0s); write it like 100ms, or own where the device is read at its own again
t:3:105: cases[0].want[1].interval.m: an interval is wanted (got 100); write it like 100ms, or own where the device is read at its own again
t:3:135: cases[0].want[2].interval.m: an interval is wanted (got ever); write it like 100ms, or own where the device is read at its own again`,
	},
	{
		`channels: {m.t: {}, n.t: {every: 1s}}
rules: [{name: r, when: m.t > 1, do: [{interval: {device: m, every: 100ms}}]}]
cases: [{name: a, steps: [{at: 0s, m.t: 1}], want: [{at: 0s, interval: {n: 100ms, m: own}}]}]`,
		`t:3:76: cases[0].want[0].interval.n: no rule has an interval for this device (got n); did you mean "m"?`,
	},
	{
		`{name: a, steps: [{at: 0s, m.t: 1}], want: [{at: 0s, interval: {m: 1s}}]}`,
		`t:10:72: cases[0].want[0].interval.m: no rule has an interval for this device (got m); none of the rules has one`,
	},
	{
		`{name: a, steps: [{at: 0s}], wnat: []}`,
		`t:10:5: cases[0].want: key is missing; write what is to come of it, for instance - {at: 31s, raised: overheat}, or [] for nothing
t:10:34: cases[0].wnat: unknown key; did you mean "want"?`,
	},
	{
		`{name: a, steps: [{at: 0s, m.t: 1}]}`,
		`t:10:5: cases[0].want: key is missing; write what is to come of it, for instance - {at: 31s, raised: overheat}, or [] for nothing`,
	},
	{
		`{name: a, steps: [{at: 10, m.t: 1}], want: []}`,
		`t:10:28: cases[0].steps[0].at: unit of time is missing (got 10); write "10s"`,
	},
	{
		`{name: a, start: tomorrow, zone: Mars, steps: [{at: 0s, m.t: on}], want: []}`,
		`t:10:22: cases[0].start: a date and time is wanted (got tomorrow); write it like 2026-01-05T21:59:00Z, or without the Z for the case's zone
t:10:38: cases[0].zone: unknown time zone (got Mars); write it like Europe/Berlin, or UTC
t:10:66: cases[0].steps[0].m.t: neither true or false nor a text in quotes (got on); write true, or put it in quotes if it is a text`,
	},
	{
		`channels: {a.b: {}}
cases: [{name: a, steps: [{at: 0s, a.b: 1}], want: []}]`,
		`t:1:11: channels: channels without rules; write rules too, or leave both out to take them from the configuration`,
	},
	{
		`cases: [{name: a, steps: [{at: 0s, a.b: 1}], want: []}]`,
		`t: rules: no rules, neither here nor in the configuration; write them here as in the configuration, or name another one by --config
t:1:41: cases[0].steps[0].a.b: no device has this channel (got a.b); there are none: list them under channels, or name a configuration by --config`,
	},
	{
		`channels: {a: {}, _a.b: {}, a._b: {unit: Celsius}, a.c: {every: 1s}, a.d: {every: 2s}}
rules: [{name: r, when: a.c > 1, do: [{alarm: {severity: info, text: x}}]}]
cases: []`,
		`t:1:15: channels.a: no channel behind the dot: name is empty (got a); write device.channel
t:1:25: channels._a.b: no device before the dot: name begins with "_", which is reserved for the gateway itself (got _a.b); write device.channel
t:1:35: channels.a._b: no channel behind the dot: name begins with "_", which is reserved for the gateway itself (got a._b); write device.channel
t:1:83: channels.a.d.every: device a is read every 1s already, and a device has one interval (got 2s); write the same
t:3:8: cases: no cases; write - name, steps and want for each case`,
	},
	{
		`channels: {a.c: {unit: cel}}
rules: [{name: r, when: a.c > 1 and a.x > 1, do: [{alarm: {severity: info, text: x}}]}]
cases: [{name: a, steps: [{at: 0s, a.c: 1}], want: []}]`,
		`t:1:24: warning: channels.a.c.unit: unit is not registered for SenML (got cel); did you mean "Cel"?
t:2:37: rules[0].when: device a has no channel x (got a.x); did you mean "c"?`,
	},
	{
		`{name: a, steps: [], want: []}
  - {name: a, only: [hto], steps: [{at: 5s, m.t: 1}, {at: 4s, m.t: 1}], want: []}`,
		`t:10:22: cases[0].steps: no steps: nothing happens; write what is read, for instance - {at: 0s, meter1.temp: 70}
t:11:12: cases[1].name: name stands twice (got a); give each case a name of its own
t:11:22: cases[1].only[0]: no rule of this name (got hto); did you mean "hot"?
t:11:59: cases[1].steps[1].at: before the step above, at 5s (got 4s); write the steps in the order of time; one that is repeated goes on beside the next`,
	},
	{
		`{name: a, steps: [{at: 5s, until: 5s, m.t: 1}, {at: 6s, until: 9s}, {at: 7s, every: 1s, m.t: 1}, {at: 8s, until: 9s, every: 0s, m.t: 1}, {at: 9s, until: 10s, d.o: true}], want: []}`,
		`t:10:39: cases[0].steps[0].until: not after at, 5s (got 5s); write a later time
t:10:68: cases[0].steps[1].until: nothing to repeat; write what is read; a step with nothing but at lets time pass
t:10:89: cases[0].steps[2].every: has no effect without until; write until when
t:10:129: cases[0].steps[3].every: repeats without a pause (got 0s); write an interval, for instance 1s
t:10:158: cases[0].steps[4].until: what is read here has no interval, or more than one; write every, for instance every: 1s`,
	},
	{
		`{name: a, steps: [{at: 0s, m.t: 1, until: 401d, every: 1h}], want: []}`,
		`t:10:22: cases[0].steps: case is longer than 400d (got 401d); write a shorter one`,
	},
	{
		`{name: a, steps: [{at: 0s, m.t: 1, until: 10d}], want: []}
  - {name: b, steps: [{at: 0s, m.t: 1, until: 10d}], want: []}`,
		`t:11:22: cases[1].steps: more than 1000000 readings in one file; repeat less often, or write several files`,
	},
	{
		`{name: a, steps: [{at: 0s, late: 1s}, {at: 1s, late: 2s, m.t: 1}, {at: 2s, restart: gateway, m.t: 1}, {at: 3s, restart: all}], want: []}`,
		`t:10:38: cases[0].steps[0].late: nothing that could be late; write what is read
t:10:58: cases[0].steps[1].late: before the case began (got 2s); write at most 1s
t:10:89: cases[0].steps[2].restart: reads something at the moment of a restart; write two steps
t:10:125: cases[0].steps[3].restart: unknown word (got all); words are gateway, machine`,
	},
	{
		`{name: a, steps: [{at: 0s, util: 5, m.z: 1, z.z: 1, fault: {m.z: x, m.t: ""}}, {at: 1s, m.t: 1, fault: {m.t: no}}], want: []}`,
		`t:10:38: cases[0].steps[0].util: neither a key nor a channel (got util); did you mean "until"?
t:10:46: cases[0].steps[0].m.z: no device has this channel (got m.z); did you mean "m.t"?
t:10:54: cases[0].steps[0].z.z: no device has this channel (got z.z); channels are d.o, fan.relay, m.t, s.x
t:10:70: cases[0].steps[0].fault.m.z: no device has this channel (got m.z); did you mean "m.t"?
t:10:78: cases[0].steps[0].fault.m.t: reason of the fault is empty; write why, for instance no answer
t:10:114: cases[0].steps[1].fault.m.t: value and fault of one channel at one time; leave one of them out, or write two steps`,
	},
	{
		`{name: a, steps: [{at: 0s, until: 2s, d.o: true, m.t: 1, to: {d.o: false, m.t: "x", s.x: 1}, every: 1s}, {at: 3s, m.t: 1, to: {m.t: 2}}], want: []}`,
		`t:10:72: cases[0].steps[0].to.d.o: has no number to begin with; write what it begins with in the same step, for instance d.o: 20
t:10:84: cases[0].steps[0].to.m.t: is no number (got x); write a number
t:10:94: cases[0].steps[0].to.s.x: has no number to begin with; write what it begins with in the same step, for instance s.x: 20
t:10:131: cases[0].steps[1].to: has no effect without until; write until when`,
	},
	{
		`{name: a, steps: [{at: 5s, m.t: 1}], want: [{at: 1s}, {at: 2s, until: 1s, raised: hto}, {at: 3s, raised: quiet}, {at: 6s, cleared: hot}, {at: 4s, set: {fan.rely: true}}]}`,
		`t:10:49: cases[0].want[0]: nothing is wanted; write raised, cleared, set, interval or snapshot; a time at which nothing happens needs no line
t:10:75: cases[0].want[1].until: before at, 2s (got 1s); write a later time
t:10:87: cases[0].want[1].raised: no rule of this name (got hto); did you mean "hot"?
t:10:110: cases[0].want[2].raised: rule quiet has no alarm; write what it sets, for instance set: {fan.relay: true}
t:10:123: cases[0].want[3].at: after the last step, at 5s (got 6s); let time pass: add the step {at: 6s}
t:10:167: cases[0].want[4].set.fan.rely: no rule sets this channel (got fan.rely); did you mean "fan.relay"?`,
	},
	{
		`{name: a, steps: [{at: 5s, m.t: 1}], want: [{at: 1s, snapshot: {m.x: 1, s.x: 0}}, {at: 2s, snapshot: {s.x: true}}]}`,
		`t:10:74: cases[0].want[0].snapshot.m.x: no rule has a snapshot of this channel (got m.x); write a channel that a snapshot names, or stands for with *
t:10:82: cases[0].want[0].snapshot.s.x: no number of readings (got 0); write how many come, 1 or more; what is not given out is left out
t:10:112: cases[0].want[1].snapshot.s.x: no number of readings (got true); write how many come, 1 or more; what is not given out is left out`,
	},
	{
		`{name: a, only: [quiet], steps: [{at: 5s, m.t: 1}], want: [{at: 1s, raised: hot}]}`,
		`t:10:81: cases[0].want[0].raised: no rule of this name (got hot); rules are quiet`,
	},
}
