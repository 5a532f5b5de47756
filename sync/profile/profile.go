// Package profile holds one preset per kind of cloud endpoint: topics, payload, limits. It is data; it knows no transport.
// What each topic and payload is, byte by byte, stands in ../README.md.
package profile

import (
	"time"

	"github.com/tidegate-io/tidegate/sync/wire"
)

// A Profile says how to speak to one kind of endpoint.
type Profile struct {
	Name       string        // as in the configuration, `profile:`
	Doc        string        // for the technician: what it serves
	QoS        byte          // of all that goes up; MQTT 3.1.1 section 4.3
	KeepAlive  time.Duration // MQTT keep alive; whole seconds
	MaxPayload int           // bytes of one MQTT payload as published, that is after compression; a larger record is cut into parts
	Gzip       bool          // the endpoint takes gzip (RFC 1952)

	// Topics returns the topics of the gateway with this id, which must be good for tidegate.CheckName.
	Topics func(gateway string) Topics
	// Encode appends p as one payload, not compressed, to dst. An error is about a record that can never be sent.
	Encode func(dst []byte, p *wire.Pack) ([]byte, error)
}

// Topics are the MQTT topics of one gateway, without wildcards. Those it does not have are empty.
type Topics struct {
	Data     string // up: live records
	Backfill string // up: records older than 60 s when sent
	Alarm    string // up: records of class alarm
	Audit    string // up: records of class audit, gaps among them
	Status   string // up: the gateway's state, retained, also the will
	Reply    string // up: answers to commands
	Command  string // down: commands
	Receipt  string // down: what the far side has stored for good
}

// profiles are all presets. The first is the default.
var profiles = []Profile{
	{
		Name:       "generic",
		Doc:        "any MQTT 3.1.1 broker: SenML JSON (RFC 8428) under tg/v1/{gateway}/, gzip if wanted",
		QoS:        1,
		KeepAlive:  30 * time.Second,
		MaxPayload: 255 << 10, // with topic and header below 256 KiB, which brokers commonly set as a limit
		Gzip:       true,
		Topics:     genericTopics,
		Encode:     wire.AppendSenML,
	},
}

func genericTopics(gateway string) Topics {
	up, down := "tg/v1/"+gateway+"/up/", "tg/v1/"+gateway+"/down/"
	return Topics{
		Data: up + "data", Backfill: up + "backfill", Alarm: up + "alarm", Audit: up + "audit", Status: up + "status",
		Reply: up + "reply", Command: down + "command", Receipt: down + "receipt",
	}
}

// ByName returns the profile with this name; "" means the default, "generic". ok is false when there is none.
func ByName(name string) (p Profile, ok bool) {
	for _, p := range profiles {
		if p.Name == name || name == "" {
			return p, true
		}
	}
	return Profile{}, false
}

// Names returns the names of all profiles, the default first.
func Names() []string {
	names := make([]string, len(profiles))
	for i, p := range profiles {
		names[i] = p.Name
	}
	return names
}
