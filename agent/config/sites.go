package config

import "github.com/tidegate-io/tidegate/agent/config/strict"

// What can be wrong with a configuration beyond the form of the file. Each is used at one place of the code, and a test shows that a
// file in testdata/config reaches it.
const (
	badID         strict.Site = "gateway.id is not set, and the %s is no name for it: %v"
	badGateway    strict.Site = "no name for a gateway: %v"
	badLabel      strict.Site = "no name for a label: %v"
	longLabel     strict.Site = "text is longer than %d bytes"
	emptyLabel    strict.Site = "label has no text"
	noLabels      strict.Site = "no labels"
	manyLabels    strict.Site = "more than %d names of labels in all rules"
	pathUp        strict.Site = "path leads upwards through \"..\""
	badListen     strict.Site = "no host:port: %v"
	badListenPort strict.Site = "no port"
	secretKey     strict.Site = "a key in the configuration"
	sourceTwice   strict.Site = "key stands twice"
	badCredential strict.Site = "no name of a credential: %v"
	noDevices     strict.Site = "no devices: there is nothing to read"
	noUplink      strict.Site = "no uplink: readings stay in the buffer until it is full"
)

// What can be wrong with devices.
const (
	badDevice    strict.Site = "no name for a device: %v"
	deviceTwice  strict.Site = "name stands twice, first in devices[%d]"
	noDriver     strict.Site = "unknown driver"
	driverFault  strict.Site = "%s"
	everIgnored  strict.Site = "driver %s waits for the device itself: no interval is kept"
	unitUnknown  strict.Site = "unit of channel %s is not registered for SenML"
	channelTwice strict.Site = "channel %s is reported twice"
	badChannel   strict.Site = "no name for a channel: %v"
	portSettings strict.Site = "port %s is used by devices[%d] already, at %s: devices on one port need the same settings"
	claimed      strict.Site = "%s is taken by %s already, at %s"
	portTaken    strict.Site = "port %s is used by devices[%d] already, and driver %s needs it for itself"
)

// What can be wrong with rules.
const (
	badRule      strict.Site = "no name for a rule: %v"
	ruleTwice    strict.Site = "name stands twice, first in rules[%d]"
	badCondition strict.Site = "condition cannot be used: %s"
	condDevice   strict.Site = "no device has this channel"
	condChannel  strict.Site = "device %s has no channel %s"
	overlap      strict.Site = "holds while `when` holds too: the rule would flap"
	noDo         strict.Site = "nothing follows from the rule"
	emptyDo      strict.Site = "neither alarm nor set nor anything else"
	twoDo        strict.Site = "%s and %s in one entry"
	twoAlarms    strict.Site = "second alarm of one rule"
	setDevice    strict.Site = "no device has this output"
	setChannel   strict.Site = "device %s has no channel %s to set"
	setInput     strict.Site = "channel %s is no output"
	setKind      strict.Site = "channel %s is a %s and takes no %s"
	setLimits    strict.Site = "output %s does not take this value"
	setsItself   strict.Site = "`when` looks at output %s, and may hold again once the rule has set it to %s%s: the rule would trigger itself"
	setsRound    strict.Site = "rules trigger each other, round and round, by the outputs that they set: %s"
	setTwice     strict.Site = "rule %s sets output %s twice, first in line %d"
	setRivals    strict.Site = "rule %s sets output %s, and so does rule %s in line %d, %s"
)

// What can be wrong with interlocks.
const (
	lockEmpty   strict.Site = "neither output nor exclusive"
	lockBoth    strict.Site = "output and exclusive in one row"
	lockStray   strict.Site = "says nothing in a row without %s"
	lockIdle    strict.Site = "nothing is asked of the output"
	lockDevice  strict.Site = "no device has an output of this name"
	lockChannel strict.Site = "device %s has no output %s"
	lockInput   strict.Site = "channel %s cannot be set: it is no output"
	lockUnknown strict.Site = "driver of device %s does not say which outputs it has"
	lockSwitch  strict.Site = "output %s is a %s, which is neither on nor off"
	lockNever   strict.Site = "output %s is a %s, which is never on"
	lockNumber  strict.Site = "output %s is a %s, which neither rises nor falls"
	lockRate    strict.Site = "rate is negative"
	lockAgain   strict.Site = "output %s has that already, in interlocks[%d]"
	lockAlone   strict.Site = "one output excludes nothing"
	lockTwice   strict.Site = "output stands twice in one row"
	lockSafe    strict.Site = "safe states of %s and %s are both on"
	lockLong    strict.Site = "safe state of %s is on, and on a stop there is no time to wait for so long"
)

// What can be wrong with what rules do beside alarms and outputs.
const (
	noPattern     strict.Site = "no channels"
	badPattern    strict.Site = "no name of a channel"
	filterDevice  strict.Site = "no device reports this channel"
	filterChannel strict.Site = "device %s reports no channel %s"
	emptyPattern  strict.Site = "no channel is called like this"
	badBy         strict.Site = "no distance"
	snapEmpty     strict.Site = "snapshot of no time"
	snapIdle      strict.Site = "no rule drops, thins out or holds back readings of this channel: all are stored anyway"
	noWhen        strict.Site = "condition is missing"
	paceDevice    strict.Site = "no device of this name is read"
	paceTalker    strict.Site = "device %s reports when it has something to say: it has no interval"
	paceTwice     strict.Site = "second interval of device %s in one rule"
	soonMissing   strict.Site = "holds though nothing is missing: %s"
	badValue      strict.Site = "expression cannot be used: %s"
	intakeAlways  strict.Site = "%s is done always, before rules judge"
	intakeAlone   strict.Site = "%s beside %s"
	longText      strict.Site = "text has %d bytes, at most %d"
	shortKey      strict.Site = "key has %d bytes, fewer than %d"
	noUnit        strict.Site = "numbers cannot be converted to this unit"
	noConversion  strict.Site = "channel %s cannot be converted to %s: %v"
	deriveConst   strict.Site = "names no channel"
	deriveDot     strict.Site = "device and channel are wanted, with a dot between"
	deriveName    strict.Site = "no name for a derived channel: %v"
	deriveDevice  strict.Site = "%s is a device that is read"
	deriveTwice   strict.Site = "channel is derived twice, first in %s"
	routeNowhere  strict.Site = "neither uplink nor class"
	routeBoth     strict.Site = "uplink and class"
	routeUplink   strict.Site = "no uplink has this name"
	routeDropped  strict.Site = "%s drops it always: nothing is left to go anywhere"
	deriveCycle   strict.Site = "rules look at what they derive themselves: %s"
)

// What can be wrong with updates.
const (
	noRoot      strict.Site = "places without a root: nothing of them would be trusted"
	badRoot     strict.Site = "file holds no root of trust: %v"
	badPlace    strict.Site = "no place of releases"
	secretPlace strict.Site = "user name or password in a place of releases"
	placeTwice  strict.Site = "place stands twice"
	caUnused    strict.Site = "has no effect without https"
	badSettle   strict.Site = "not less than trial, %v"
	badTenant   strict.Site = "no name of a tenant: %v"
	badHardware strict.Site = "no name of hardware"
)

// What can be wrong with uplinks.
const (
	bothUplinks  strict.Site = "uplink and uplinks"
	badUplink    strict.Site = "no name for an uplink: %v"
	uplinkTwice  strict.Site = "name stands twice, first in uplinks[%d]"
	noURL        strict.Site = "no url"
	bothURLs     strict.Site = "url and urls"
	badURL       strict.Site = "no address: %v"
	secretInURL  strict.Site = "user name or password in the address"
	laterScheme  strict.Site = "%s is not in this build"
	badScheme    strict.Site = "unknown way to the far side"
	noHost       strict.Site = "address has no host"
	badPort      strict.Site = "port is out of range, 1 to 65535"
	moreInURL    strict.Site = "more in the address than host and port"
	urlTwice     strict.Site = "address stands twice"
	badProfile   strict.Site = "unknown profile"
	tlsUnused    strict.Site = "has no effect without TLS"
	passwordOpen strict.Site = "password goes over the network in clear"
	noPasswordOf strict.Site = "password without a user name"
	keyMissing   strict.Site = "certificate without its key"
	certMissing  strict.Site = "key without its certificate"
	emptySecret  strict.Site = "file holds no password"
	noCA         strict.Site = "file holds no certificate: %v"
	badPair      strict.Site = "certificate and key: %v"
	certDates    strict.Site = "certificate is not valid now, but from %s to %s"
)
