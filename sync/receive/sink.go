package receive

import (
	"context"
	"time"

	"github.com/tidegate-io/tidegate"
)

// A Sink stores records and the ledger, both in one go. It is used by one goroutine.
type Sink interface {
	// Load returns the ledger as of the last Write that returned nil, or of one that did not return. It is called once, first.
	Load(ctx context.Context) (*Ledger, error)
	// Write stores all of b or nothing, and returns nil once it is durable. After an error the same b is handed over again, later:
	// what the failed Write left behind must not be stored twice by then.
	Write(ctx context.Context, b Batch) error
	// Close ends it. What Write has taken is durable already.
	Close() error
}

// A Batch is what is stored in one go: records of any number of gateways and what they change in the ledger.
type Batch struct {
	Records []Stored
	Changes []Change  // at most one for each row
	Refused []Refusal // payloads that could not be understood, to be set aside where a person finds them
}

// Stored is one record on its way into the Sink. Its number has not been stored before.
type Stored struct {
	Key
	Lane   string // "data", "backfill", "alarm" or "audit": the topic by which it came
	Record tidegate.Record
}

// A Refusal is a payload that could not be understood.
type Refusal struct {
	Time  time.Time // when it came
	Topic string    //
	Why   string    //
	Size  int       // of the payload, bytes
	Body  []byte    // the payload, at most its first 64 KiB
}
