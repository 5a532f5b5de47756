// Package receive is the far end as a library: it takes payloads, drops what it has already, hands the rest to a Sink together
// with the change of the ledger, and gives receipts for what the Sink has made durable.
//
// The ledger is one Row per (gateway, epoch) with the numbers of the records that are stored; a record whose number stands there
// is a duplicate, however batches are cut. Gaps that a gateway declares and numbers that it skips are kept apart from what is
// stored: a record that comes for such a number after all is stored and takes the number out of them.
//
// Two records of one number are taken for the same record and the second is dropped without being compared: nothing of the
// first is kept here to compare it with, and its time may have been corrected since (t and tq are all that may differ).
//
// A receipt goes to tg/v1/{gateway}/down/receipt. That is one topic for all epochs of a gateway, so only the receipt of its
// current epoch (the one whose live records came last) is published retained; those of older epochs, which are still draining,
// are published without, before it. All are published again when the receiver starts or reconnects and when the gateway
// reports its status, so that a gateway whose state was restored from a backup finds out before it gives a number twice.
package receive
