package tidegate_test

// module is the path of this module; every other import with a dot in its first element is an outside library.
const module = "github.com/tidegate-io/tidegate"

// A row of the table allows something, with the reason why. What no row allows is a violation.
type row struct {
	what  string   // package, library, file or name: as the judge says
	where []string // packages, relative to the module; "." = the root, "drivers/*" = each driver, "cmd/*" = each program
	limit int      // where the judge counts
	why   string
}

// A ruleBook is all that arch_test judges by.
type ruleBook struct {
	folders    []row // top-level folders
	ignored    []row // top-level folders that are products or scratch, in .gitignore
	layers     []row // what: package; where: what it may import of ours, besides what lies below its own folder
	doors      []row // what: outside library, prefix of the import path; where: who may import it outside tests; none = tests only
	reach      []row // what: package; where: prefixes of import paths that it must not reach, through packages of ours either
	goroutines []row // what: package that may start goroutines
	variables  []row // what: package.name of a package-level variable that may stay
	once       []row // what: function whose result a package-level variable may hold
	files      []row // what: file over fileAsked lines; limit: its own
	packages   []row // what: package; limit: its lines
	interfaces []row // what: package.Name; limit: its methods
	words      []row // what: word that no exported name of ours contains; where: its better word
	named      []row // what: package.Name that may contain such a word
	drivers    []row // what: folder of drivers/ that is no driver
	support    []row // what: package that serves tests: judged as tests are, and imported by nothing else
}

// Budgets for what the tables do not name.
const (
	fileAsked      = 400  // lines of a file that is no test
	fileHard       = 600  // lines that no reason excuses
	packageLines   = 1500 // lines of a package without its tests
	functionLines  = 60   // lines of a function, from `func` to its closing brace
	interfaceSize  = 4    // methods
	goroutineCalls = "Go" // method of sync.WaitGroup and errgroup.Group that starts a goroutine without saying `go`
)

// theRules are this project's.
var theRules = ruleBook{
	folders: []row{
		{what: "agent", why: "puts it together"},
		{what: "buffer", why: "numbered records on disk"},
		{what: "cmd", why: "programs"},
		{what: "drivers", why: "parts on the wire"},
		{what: "etc", why: "what is installed beside the binary"},
		{what: "ota", why: "releases and slots"},
		{what: "rules", why: "thresholds and what follows"},
		{what: "sync", why: "from the queue to the far end"},
		{what: "testdata", why: "vectors, recordings, rigs"},
		{what: ".ci", why: "the check that runs on each push"},
		{what: ".git", why: "git"},
	},
	ignored: []row{
		{what: "bin", why: "make build writes it"},
		{what: "dist", why: "make dist writes it"},
		{what: "state", why: "the sample configuration's state_dir"},
		{what: "work", why: "scratch of the rigs"},
		{what: "node_modules", why: "black-box checkers' libraries"},
	},
	layers: []row{
		{what: ".", why: "the words: whoever imports them must get nothing else with them"},
		{what: "rules", where: []string{".", "rules/filter", "rules/hold", "rules/lang", "rules/row"}, why: "pure: no clock, device, network or disk"},
		{what: "rules/filter", where: []string{"."}, why: "pure: which readings of a channel go on; knows no rule"},
		{what: "rules/hold", where: []string{".", "rules/filter"}, why: "pure: what filters took, for a while; knows no rule"},
		{what: "rules/intake", where: []string{".", "rules/filter", "rules/unit"}, why: "pure: what becomes of readings before anything sees them; knows no rule"},
		{what: "rules/unit", where: []string{}, why: "pure: numbers from one unit to another; knows no reading and no rule"},
		{what: "rules/lang", where: []string{".", "rules/row", "rules/unit", "rules/window"}, why: "pure: text to conditions; knows no rule"},
		{what: "rules/lang/spot", where: []string{}, why: "pure: what stands at a place of a text"},
		{what: "rules/rounds", where: []string{".", "rules/lang"}, why: "pure: which rules trigger which by what they set; judges nothing"},
		{what: "rules/row", where: []string{}, why: "pure: where things lie in memory; knows none of them"},
		{what: "rules/summary", where: []string{"."}, why: "pure: few readings for many; knows no rule and no clock"},
		{what: "rules/window", where: []string{}, why: "pure: numbers and times to sums; knows no reading and no rule"},
		{
			what: "rules/cases", where: []string{".", "agent/config", "agent/config/strict", "drivers", "rules", "rules/intake", "rules/lang"},
			why: "written cases in, what became of them out; rules and channels as the configuration has them",
		},
		{what: "sync/wire", where: []string{"."}, why: "pure: readings to payloads and back"},
		{what: "sync/wire/frame", where: []string{".", "sync/wire"}, why: "pure: records to the body of a stored frame and back"},
		{what: "sync/wire/frame/column", where: []string{"."}, why: "pure: numbers to columns of bytes and back"},
		{what: "sync/profile", where: []string{".", "sync/wire"}, why: "topics and limits of far ends; data"},
		{what: "buffer", where: []string{".", "buffer/disk", "buffer/quota", "buffer/salvage", "buffer/seal", "buffer/stored", "buffer/wear"}, why: "a frame's body is bytes to it; numbers, classes and ranges are the root's words"},
		{what: "buffer/lease", where: []string{"."}, why: "two slots of numbers on disk, outside Badger"},
		{what: "buffer/disk", where: []string{"buffer/seal", "buffer/stored", "buffer/wear"}, why: "Badger with its traps dealt with; knows no cursor"},
		{what: "buffer/quota", where: []string{"."}, why: "pure: which class gives way when space ends; knows no segment"},
		{what: "buffer/seal", where: []string{}, why: "pure: keys, and bytes to sealed bytes and back; knows no frame"},
		{what: "buffer/stored", where: []string{".", "buffer/seal"}, why: "pure: keys, frames and the values beside them to bytes and back"},
		{what: "buffer/wear", where: []string{}, why: "what was written to a card, by the kernel's account and what ext4 adds, and how long that took, to what is to be done; writes nothing"},
		{what: "buffer/salvage", where: []string{".", "buffer/disk", "buffer/seal", "buffer/stored"}, why: "what can be read of a store that does not open, into another one; knows no cursor's work"},
		{what: "drivers", where: []string{"."}, why: "what a driver is"},
		{what: "drivers/*", where: []string{".", "drivers"}, why: "a driver knows its part and the Host, nothing else"},
		{what: "drivers/talker", where: []string{".", "drivers"}, why: "frames of devices that talk by themselves; knows none of them"},
		{what: "drivers/nmea", where: []string{".", "drivers", "drivers/talker"}, why: "a driver of a device that talks by itself"},
		{what: "drivers/pms5003", where: []string{".", "drivers", "drivers/talker"}, why: "a driver of a device that talks by itself"},
		{what: "drivers/serialtext", where: []string{".", "drivers", "drivers/talker"}, why: "a driver of a device that talks by itself"},
		{what: "drivers/drivertest/*", where: []string{".", "drivers", "drivers/drivertest"}, why: "a part of the tests that every driver gets"},
		{what: "drivers/*/*", where: []string{".", "drivers"}, why: "a part of one driver"},
		{what: "drivers/modbus/doctor", where: []string{".", "drivers", "drivers/modbus/link"}, why: "looks at frames; asks nobody unless told to"},
		{what: "drivers/modbus/sweep", where: []string{".", "drivers", "drivers/modbus/link"}, why: "asks units that nobody knows"},
		{what: "drivers/modbus/registers", where: []string{".", "drivers", "drivers/modbus/link"}, why: "what registers mean; asks nobody"},
		{
			what: "drivers/modbus/maps", where: []string{".", "drivers", "drivers/modbus/link", "drivers/modbus/registers", "agent/config/strict"},
			why: "meters as data, read as strictly as the configuration, by the same words",
		},
		{what: "drivers/board", where: []string{".", "drivers"}, why: "the real Host; knows no driver"},
		{what: "drivers/drivertest", where: []string{".", "drivers"}, why: "the fake Host; knows no driver"},
		{what: "drivers/scan", where: []string{".", "drivers"}, why: "asks a Host and drivers; knows no part itself"},
		{what: "drivers/all", where: []string{"drivers", "drivers/*"}, why: "the list of drivers, and nothing but the list"},
		{what: "sync/forward", where: []string{".", "buffer", "sync/wire", "sync/wire/frame", "sync/profile"}, why: "from a cursor to an Uplink; knows no transport"},
		{what: "sync/forward/uplink", where: []string{"."}, why: "what forwarder and transports share, without the queue"},
		{what: "sync/forward/pace", where: []string{".", "sync/forward/uplink"}, why: "how much may be in flight, and when to try again: pure"},
		{what: "sync/forward/pack", where: []string{".", "sync/forward/uplink", "sync/wire", "sync/wire/frame"}, why: "records to payloads within a limit"},
		{what: "sync/mqtt", where: []string{".", "sync/forward/uplink", "sync/wire", "sync/profile"}, why: "an Uplink; knows no queue"},
		{what: "sync/receive", where: []string{".", "sync/wire", "sync/profile"}, why: "the far end must never pull in the gateway"},
		{what: "sync/receive/sink", where: []string{".", "sync/wire", "sync/receive"}, why: "a store of the far end"},
		{what: "sync/receive/subscribe", where: []string{"."}, why: "what a broker delivers; knows no store"},
		{what: "sync/receive/farend", where: []string{".", "sync/receive", "sync/receive/sink", "sync/receive/subscribe"}, why: "the far end put together, for its program and for demo"},
		{
			what: "ota", where: []string{"ota/delta", "ota/durable", "ota/fetch", "ota/release", "ota/slots", "ota/trust"},
			why: "from a look to a release in the free slot; knows no gateway",
		},
		{what: "ota/durable", where: []string{}, why: "files that hold over a power cut; knows no release"},
		{what: "ota/slots", where: []string{"ota/durable", "ota/release"}, why: "programs on disk, and which of them is started; small, as the launcher is made of it"},
		{what: "ota/slots/stage", where: []string{"ota/slots"}, why: "how a program gets there; apart, as the library for that brings an HTTP stack that the launcher must not have"},
		{what: "cmd/tidegate-launch", where: []string{"ota/slots"}, why: "starts the gateway's program: never updated from afar, so as little as can be"},
		{what: "ota/trial", where: []string{}, why: "pure: is a new release healthy; is told what the gateway sees of itself"},
		{what: "ota/strict", where: []string{}, why: "pure: JSON without surprises; knows no format"},
		{what: "ota/trust", where: []string{"ota/durable", "ota/strict"}, why: "which files are signed; asks whom it is given, knows no release but its counter"},
		{what: "ota/release", where: []string{"ota/strict"}, why: "pure: what is signed of a release, and whom it is for"},
		{what: "ota/fetch", where: []string{"ota/durable"}, why: "bounded sources of files by length and hash; knows no release and no signature"},
		{what: "ota/delta", where: []string{}, why: "pure: programs to frames and back; knows no file"},
		{
			what: "ota/publish", why: "the repository of releases, for its program; knows no gateway",
			where: []string{"ota/delta", "ota/durable", "ota/release"},
		},
		{what: "ota/publish/keyfile", where: []string{"ota/durable"}, why: "keys that sign, one a file; knows no repository"},
		{what: "ota/publish/listed", where: []string{"ota/delta", "ota/publish/keyfile", "ota/publish/meta", "ota/publish/program", "ota/release"}, why: "files that targets list; reads no folder"},
		{what: "ota/publish/meta", where: []string{"ota/publish/keyfile", "ota/publish/program"}, why: "pieces of metadata and who signed them; knows no repository"},
		{what: "ota/publish/outcome", where: []string{"ota/release"}, why: "pure: lines to counts"},
		{what: "ota/publish/program", where: []string{"ota/release"}, why: "what a program was built for; never runs it"},
		{what: "ota/publish/program/programtest", where: []string{}, why: "programs for tests"},
		{what: "ota/publish/publishtest", where: []string{"ota/publish", "ota/publish/keyfile", "ota/publish/program", "ota/publish/program/programtest", "ota/release"}, why: "an owner for tests"},
		{what: "ota/publish/sbom", where: []string{"ota/release"}, why: "pure: build information to CycloneDX"},
		{what: "agent/box", where: []string{"."}, why: "rings between goroutines; entries are bytes to them"},
		{what: "agent/clock", where: []string{"."}, why: "wall time from boot time"},
		{what: "agent/status", where: []string{"."}, why: "one snapshot, so that web and commands need no agent"},
		{
			what: "agent/past", where: []string{".", "agent/status", "buffer", "rules", "rules/filter", "rules/lang", "sync/wire/frame"},
			why: "what rules would have done with what is stored, by the way the judge goes; knows no device and no clock",
		},
		{what: "agent/config/keys", where: []string{".", "agent/config/strict", "buffer/seal"}, why: "keys of the buffer from files and credentials; knows no store"},
		{what: "agent/config", where: []string{".", "buffer/seal", "drivers", "rules", "rules/filter", "rules/intake", "rules/lang", "rules/rounds", "rules/unit", "sync/profile", "sync/wire"}, why: "the whole configuration; drivers' blocks are decoded into their own Config"},
		{what: "agent/config/strict", where: []string{"."}, why: "YAML without surprises; knows no setting"},
		{what: "agent/config/describe", where: []string{".", "drivers", "agent/config", "agent/config/strict", "rules"}, why: "schema and sample from the structs; the daemon does not need it"},
		{
			what: "agent/line", why: "from ring 1 to the store; knows no device and no uplink",
			where: []string{".", "agent/box", "agent/clock", "agent/past", "buffer", "buffer/lease", "buffer/wear", "rules", "rules/hold", "sync/wire", "sync/wire/frame"},
		},
		{what: "agent/line/thin", where: []string{".", "buffer", "rules/summary", "sync/wire/frame"}, why: "stored segments to what stands for them; knows no ring and no uplink"},
		{what: "agent/output", where: []string{".", "drivers"}, why: "what outputs are set to, and when; knows no rule and no reader"},
		{what: "agent/place", where: []string{}, why: "directories that are claimed, written to and measured; knows nothing of what is kept"},
		{what: "agent/memory", where: []string{"drivers"}, why: "bytes of devices over restarts; knows no device"},
		{what: "agent/web", where: []string{".", "agent/status"}, why: "the page knows Status and a few functions"},
		{
			what: "agent/export", where: []string{".", "agent/status", "buffer", "sync/wire/frame"},
			why: "stored readings to lines, and what was set aside; knows no file and no socket",
		},
		{what: "agent/update", where: []string{"agent/config", "agent/status", "ota", "ota/slots", "ota/trial"}, why: "when to look for releases, and whether one does well; what they are on disk it is given"},
		{
			what: "agent", why: "puts levels 0 to 2 together; is given drivers and Host by cmd, so that its tests compile without them",
			where: []string{
				".", "agent/box", "agent/clock", "agent/config", "agent/export", "agent/line", "agent/past", "agent/place", "agent/status", "agent/web", "buffer", "buffer/lease", "buffer/quota", "buffer/wear",
				"drivers", "rules", "rules/intake", "sync/forward", "sync/forward/uplink", "sync/mqtt", "sync/profile", "sync/wire", "sync/wire/frame",
			},
		},
		{
			what: "cmd/tidegate", why: "the command line with the list of drivers; a program with a list of its own is another main like this one",
			where: []string{"drivers/all"},
		},
		{
			what: "cmd/tidegate/cli",
			why:  "wiring and printing; is given the drivers, so that other programs have theirs; settings are described from the structs; the process that reads a damaged store is this program; demo has its receiver in a process of its own",
			where: []string{
				".", "agent", "agent/config", "agent/config/describe", "agent/config/strict", "agent/output", "agent/place", "agent/status", "agent/update", "agent/web", "buffer/salvage",
				"cmd/tidegate/demo", "cmd/tidegate/direct", "cmd/tidegate/find", "cmd/tidegate/man", "cmd/tidegate/nodes", "cmd/tidegate/reach", "cmd/tidegate/releases", "cmd/tidegate/told", "cmd/tidegate/tried",
				"drivers", "drivers/board", "ota", "sync/receive/farend",
			},
		},
		{what: "cmd/tidegate/find", where: []string{"drivers", "drivers/board", "drivers/board/gpioline", "drivers/modbus/sweep", "drivers/scan"}, why: "what scan found, for people"},
		{
			what: "cmd/tidegate/direct", why: "outputs of devices without the gateway; is given the Host",
			where: []string{".", "agent/config", "agent/output", "agent/status", "drivers"},
		},
		{what: "cmd/tidegate/nodes", where: []string{"agent/config", "drivers"}, why: "device nodes of a configuration as the service's sandbox has them"},
		{
			what: "cmd/tidegate/releases", where: []string{"agent/config", "agent/update", "ota", "ota/release"},
			why: "what a configuration and a machine are to package ota, and the process in which releases are fetched",
		},
		{what: "cmd/tidegate/reach", where: []string{"agent/config", "agent/place"}, why: "the gateway's socket and files"},
		{what: "cmd/tidegate/told", where: []string{"agent/status", "ota", "ota/slots"}, why: "answers of a gateway, and what lies in its slots, in words; asks nobody"},
		{what: "cmd/tidegate/tried", where: []string{"agent/config", "agent/config/strict", "rules/cases"}, why: "what became of files of cases, for people"},
		{what: "cmd/tidegate/man", where: []string{}, why: "pages from the commands, whatever they do"},
		{
			what: "cmd/tidegate/demo", why: "the far end of a bus, a broker, and what is in the gateway's buffer and the receiver's files at the end",
			where: []string{
				".", "agent", "agent/config", "agent/status", "drivers", "drivers/board/pty", "drivers/modbus/slave", "sync/receive",
			},
		},
		{
			what: "cmd/tidegate-receive", why: "the cloud side",
			where: []string{".", "sync/receive", "sync/receive/sink", "sync/receive/farend"},
		},
		{
			what: "cmd/tidegate-release", why: "the command line of who releases: keys, drafts, publishing; never on a gateway",
			where: []string{
				"ota/durable", "ota/publish", "ota/publish/keyfile", "ota/publish/listed", "ota/publish/meta", "ota/publish/outcome", "ota/publish/program",
				"ota/release",
			},
		},
	},
	doors: []row{
		{what: "github.com/adrianmo/go-nmea", where: []string{"drivers/nmea"}, why: "cuts sentences; its fields read empty as 0 and NaN as a number: one place knows"},
		{what: "github.com/dgraph-io/badger/v4", where: []string{"buffer/disk"}, why: "its traps are dealt with in one place"},
		{
			what: "github.com/eclipse/paho.mqtt.golang", where: []string{"sync/mqtt", "sync/receive/subscribe"},
			why: "its tokens lie under AutoReconnect: one place on each side of the broker knows, and neither side imports the other",
		},
		{what: "go.bug.st/serial", where: []string{"drivers/board"}, why: "Read returns (0, nil) on timeout: one place knows"},
		{what: "periph.io/x/host/v3", where: []string{"drivers/board"}, why: "the hardware itself"},
		{what: "github.com/warthog618/go-gpiocdev", where: []string{"drivers/board/gpioline"}, why: "edges with kernel stamps and sequence numbers; its watcher spins when a chip is removed"},
		{what: "periph.io/x/conn/v3", where: []string{"drivers", "drivers/board", "drivers/drivertest", "drivers/scan"}, why: "types of I2C, SPI and 1-Wire buses"},
		{what: "periph.io/x/devices/v3", why: "judges our I2C drivers in tests: its own drivers clamp, sleep without a ctx and drop causes; each doc.go says which"},
		{what: "github.com/expr-lang/expr", where: []string{"rules/lang"}, why: "the syntax tree of conditions"},
		{what: "github.com/goccy/go-yaml", where: []string{"agent/config", "agent/config/strict", "drivers/i2cmap"}, why: "strict, with line and column; i2cmap reads its maps"},
		{what: "github.com/invopop/jsonschema", where: []string{"agent/config/describe"}, why: "the schema is generated from the structs"},
		{what: "github.com/minio/selfupdate", where: []string{"ota/slots/stage"}, why: "syncs nothing, bounds nothing, verifies nothing unless told to: one place knows"},
		{what: "github.com/spf13/cobra", where: []string{"cmd/tidegate-receive", "cmd/tidegate-release", "cmd/tidegate/cli", "cmd/tidegate/man"}, why: "commands, completion, man pages"},
		{what: "github.com/spf13/pflag", where: []string{"cmd/tidegate/man"}, why: "cobra's flags"},
		{what: "github.com/mochi-mqtt/server/v2", where: []string{"cmd/tidegate/demo"}, why: "the broker of demo"},
		{what: "github.com/klauspost/compress", where: []string{"ota/delta", "sync/wire/frame", "sync/forward", "sync/forward/pack", "sync/receive"}, why: "zstd of frames and programs, gzip of payloads"},
		{
			what: "golang.org/x/sys", where: []string{
				"agent", "agent/box", "agent/clock", "agent/place", "buffer/disk", "buffer/lease", "buffer/seal", "buffer/wear", "cmd/tidegate-release", "cmd/tidegate/cli", "cmd/tidegate/find", "cmd/tidegate/reach",
				"cmd/tidegate/releases", "drivers/board", "drivers/board/gpioline", "drivers/board/pty", "drivers/board/tty", "drivers/external", "drivers/system",
				"ota/fetch", "ota/slots", "sync/mqtt",
			},
			why: "flock, mmap and fallocate, boot time, statfs, ioctl, pseudo-terminals, limits and ends of processes, TCP_USER_TIMEOUT, a terminal that does not show passphrases, the clock that systemd wants with RELOADING, whether the processor has AES",
		},
		{what: "github.com/go-json-experiment/json", where: []string{"ota/strict"}, why: "encoding/json/v2 of Go 1.27: names twice, case and UTF-8 are errors; the standard library's, once we build with that"},
		{what: "github.com/gorilla/websocket", where: []string{"sync/mqtt"}, why: "wss:// over the same connection as mqtts://, with our own dial"},
		{what: "golang.org/x/crypto", where: []string{"buffer/seal"}, why: "XChaCha20-Poly1305, for processors without AES"},
		{what: "golang.org/x/net", where: []string{"sync/mqtt"}, why: "SOCKS5"},
		{what: "pgregory.net/rapid", why: "property tests"},
		{what: "github.com/santhosh-tekuri/jsonschema/v6", why: "judges our schema in tests"},
		{what: "github.com/rogpeppe/go-internal", why: "whole-program test scripts"},
		{what: "unsafe", where: []string{"agent/box", "drivers/board", "drivers/board/tty"}, why: "mapped memory, ioctl arguments"},
		{what: "os/exec", where: []string{"buffer/salvage", "cmd/tidegate/demo", "cmd/tidegate/releases", "drivers/external"}, why: "fixed argument vectors only, never a shell; demo runs its gateway and receiver, releases this very program once more"},
		{what: "filippo.io/age", where: []string{"ota/publish/keyfile"}, why: "files of keys that a passphrase encrypts"},
		{what: "github.com/theupdateframework/go-tuf/v2", where: []string{"ota/publish", "ota/publish/listed", "ota/publish/meta", "ota/trust"}, why: "formats and signatures of TUF: it panics on some nulls, and its updater does not sync; trust reads, publish writes"},
		{what: "github.com/sigstore/sigstore", where: []string{"ota/publish/meta"}, why: "the shape that go-tuf wants a key in"},
		{what: "github.com/CycloneDX/cyclonedx-go", why: "judges our lists of what is in a program, with the schema of CycloneDX, in tests"},
		{what: "plugin", why: "breaks on any version skew: drivers are compiled in"},
		{what: "C", why: "one static binary, CGO_ENABLED=0"},
	},
	reach: []row{
		{
			what: "cmd/tidegate-launch", why: "what is never updated from afar must not talk to anybody, nor have what needs updates",
			where: []string{"net", "github.com/minio", "github.com/theupdateframework", "github.com/klauspost", module + "/agent", module + "/buffer", module + "/sync", module + "/drivers"},
		},
		{
			what: "cmd/tidegate-receive", why: "a receiver in a cloud needs neither a queue nor hardware",
			where: []string{"github.com/dgraph-io/badger", "periph.io/", "go.bug.st/serial", "github.com/warthog618", module + "/agent", module + "/drivers"},
		},
		{
			what: "cmd/tidegate-release", why: "it runs where keys are, without a network",
			where: []string{"net/http", "github.com/dgraph-io/badger", module + "/agent", module + "/drivers", module + "/sync"},
		},
		{what: "sync/receive", why: "a library for other people's back ends", where: []string{"github.com/dgraph-io/badger", module + "/agent", module + "/drivers"}},
		{what: "rules", why: "rules replay must never touch the machine", where: []string{"net", "os", "github.com/dgraph-io/badger"}},
		{what: "sync/wire", why: "pure", where: []string{"net", "os", "github.com/klauspost/compress"}},
	},
	goroutines: []row{
		{what: "agent", why: "runs the workers and waits for them"},
		{what: "cmd/tidegate/cli", why: "signals"},
		{what: "cmd/tidegate/demo", why: "its processes, the far end of its bus"},
		{what: "cmd/tidegate/direct", why: "devices side by side, of which one may hang"},
		{what: "agent/output", why: "a Set that may hang, behind a deadline"},
		{what: "drivers/board", why: "reads that a kernel driver may hang in, behind a deadline"},
		{what: "drivers/board/gpioline", why: "waits for edges of a line, so that drivers can wait for many lines"},
		{what: "drivers/external", why: "a child process has two streams"},
		{what: "sync/receive", why: "one worker a gateway"},
	},
	variables: []row{
		{what: "*.Driver", why: "a driver is data"},
		{what: "cmd/tidegate.version", why: "the linker sets it"},
		{what: "cmd/tidegate.commit", why: "the linker sets it"},
		{what: "cmd/tidegate.built", why: "the linker sets it"},
		{what: "cmd/tidegate-receive.version", why: "the linker sets it"},
		{what: "cmd/tidegate-receive.commit", why: "the linker sets it"},
		{what: "cmd/tidegate-release.version", why: "the linker sets it"},
		{what: "cmd/tidegate-release.commit", why: "the linker sets it"},
	},
	once: []row{
		{what: "errors.New", why: "an error to compare with"},
		{what: "fmt.Errorf", why: "an error to compare with"},
		{what: "regexp.MustCompile", why: "compiled once"},
		{what: "crc32.MakeTable", why: "a table"},
		{what: "crc16.MakeTable", why: "a table"},
		{what: "time.Unix", why: "a fixed time"},
		{what: "time.Date", why: "a fixed time"},
		{what: "strings.NewReplacer", why: "a table"},
		{what: "template.Must", why: "compiled once"},
		{what: "reflect.TypeFor", why: "a constant of the language that cannot be written as one"},
		{what: "math.Inf", why: "a constant of the language that cannot be written as one"},
		{what: "math.NaN", why: "a constant of the language that cannot be written as one"},
	},
	files: []row{},
	packages: []row{
		{what: ".", limit: 550, why: "the words only: smaller than other packages"},
		{what: "drivers/external", limit: 1750, why: "a program's life, its lines and its caps are one state between the goroutines of one process; half of the rest is its settings"},
		{what: "drivers/drivertest/conformance", limit: 1600, why: "one suite, whose checks share one way to open, read and judge a device, in a bubble or in real time"},
		{what: "sync/receive", limit: 1600, why: "ledger, stage, what bounds them and receipts are one scheme over one state, which one model explores; sinks and subscription are out already"},
		{what: "cmd/tidegate/cli", limit: 2350, why: "one file a command; they have nothing in common but how they print; 240 of these lines are of releases, which package releases does the work for"},
		{what: "sync/forward", limit: 1700, why: "lanes, flights, what is suspected, of ending connections or of getting no receipt, and what is skipped share one connection's state; pace, pack and uplink are out already"},
		{what: "buffer/disk", limit: 1750, why: "Badger's traps, each a file; 230 lines read its files without it, and know its formats, 130 tell what its log has lost"},
		{what: "buffer", limit: 4370, why: "one lock over one store: tails, cursors, segments, declarations, limits of classes and ages, what is meant for one uplink only or told to be skipped, what comes back from what was set aside, what is sealed with which key, and their digest change together; encodings, quotas and Badger are out already"},
		{what: "rules/window", limit: 1550, why: "four shapes of window, what is asked of them and their state are one scheme over one ring of buckets"},
		{what: "rules/lang", limit: 2800, why: "one language over one kind of node: reading, checking, functions and what they keep would only export to each other"},
		{what: "agent", limit: 3410, why: "the loops belong together: reading, judging, storing, forwarding, status; 50 lines give outputs their interlocks, 50 keep from sight what rules hide, 70 say what the gateway says of itself and hold it to reading in safe mode, 50 wait for keys of the buffer and say what is sealed with which, 230 go on without a disk, and back, which is a matter of all loops; directories are out already, 60 verify what is stored, 40 say what becomes of the card"},
		{what: "rules", limit: 2600, why: "one judge: what rules say, derive and keep of one instant, what goes on and where; language, windows, filters and what snapshots keep are out already"},
		{what: "agent/line", limit: 3150, why: "entry, numbers, judge, store and resume are one scheme, which one model explores from inside; 90 lines spare the card, 60 go on after salvage or a move, 80 tell what a damaged store and a restored one no longer tell, 160 count what is not taken, 90 put what stands for others"},
		{what: "agent/config", limit: 2910, why: "one check a file of the configuration, which share one checker, 170 of them where releases come from, 60 how the buffer is shared out; strict and describe are out already"},
	},
	interfaces: []row{
		{what: "drivers.Host", limit: 8, why: "the machine: one method a kind of bus, and all fakes are drivertest's"},
	},
	words: []row{
		{what: "sensor", where: []string{"device"}, why: "the thing on the wire is a device"},
		{what: "point", where: []string{"channel"}, why: "one word per idea"},
		{what: "sample", where: []string{"reading"}, why: "one word per idea"},
		{what: "measurement", where: []string{"reading"}, why: "one word per idea"},
		{what: "message", where: []string{"record, batch or text"}, why: "only MQTT has messages"},
		{what: "event", where: []string{"record, edge or condition"}, why: "one word per idea"},
		{what: "packet", where: []string{"frame or pack"}, why: "one word per idea"},
		{what: "item", where: []string{"what it is"}, why: "says nothing"},
		{what: "tag", where: []string{"label"}, why: "one word per idea"},
		{what: "client", where: []string{"gateway or uplink"}, why: "one word per idea"},
		{what: "manager", where: []string{"what it does"}, why: "says nothing"},
		{what: "handler", where: []string{"what it does"}, why: "says nothing"},
		{what: "service", where: []string{"what it does"}, why: "says nothing"},
		{what: "helper", where: []string{"what it does"}, why: "says nothing"},
		{what: "util", where: []string{"what it does"}, why: "says nothing"},
		{what: "common", where: []string{"what it is"}, why: "says nothing"},
		{what: "data", where: []string{"readings, records or body"}, why: "says nothing"},
		{what: "info", where: []string{"what it is"}, why: "says nothing"},
	},
	named: []row{
		{what: "drivers.Driver.Sample", why: "the sample configuration block, not a reading"},
		{what: "agent/config/describe.Sample", why: "the sample configuration, not a reading"},
		{what: "drivers.Serial.DataBits", why: "the name that every serial port's manual uses"},
		{what: "drivers/serialtext.Config.DataBits", why: "the name that every serial port's manual uses"},
		{what: "rules.SeverityInfo", why: "severities bear the names that every log knows"},
		{what: "sync/forward.LaneData", why: "the lane of the topic up/data, contract"},
		{what: "sync/forward/uplink.LaneData", why: "the lane of the topic up/data, contract"},
		{what: "sync/mqtt.Options.ClientID", why: "MQTT 3.1.1 section 3.1.3.1 calls it so"},
		{what: "sync/profile.Topics.Data", why: "the topic up/data, contract"},
	},
	drivers: []row{
		{what: "all", why: "the list"},
		{what: "board", why: "the real Host"},
		{what: "scan", why: "what is on the buses"},
		{what: "drivertest", why: "the fake Host"},
		{what: "talker", why: "what the drivers of devices that talk by themselves have in common"},
	},
	support: []row{
		{what: "drivers/drivertest", why: "the fake Host"},
		{what: "drivers/drivertest/*", why: "conformance, recordings"},
		{what: "ota/publish/program/programtest", why: "programs that are none"},
		{what: "ota/publish/publishtest", why: "whoever owns gateways, with all keys"},
	},
}
