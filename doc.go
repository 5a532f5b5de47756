// Package tidegate holds the words that every other package speaks: Reading, Value, Record, Class, Gap and Ranges.
// It does no I/O and knows no encoding.
//
// The way of one reading, in one line each:
//
//	drivers/modbus    Device.Read            bytes become Readings
//	agent/read.go     reader.run             stamps Device and Time; an error becomes fault Readings and a back-off;
//	                                         the Read stands in the first ring before the device is asked again
//	agent/judge.go    judge.take             rules.Set.Apply; numbered here (48,211), into the second ring:
//	                                         from now on it may be sent
//	agent/store.go    store.commit           frames; one transaction for all that waited
//	buffer            Queue.Put, Commit      visible; on disk
//	sync/forward      Forwarder.Run          48,001-48,500 become a batch; send, retry, Ack
//	sync/mqtt         Uplink.Send            one publish, wait for the acknowledgement
//	sync/receive      Receiver.Take          (gateway, epoch, number) seen before? drop. Else Sink.Write, then a receipt
//
// The identity of a record is (gateway, epoch, number) for ever. Whatever cannot be delivered is declared as a Gap, so that
// produced = delivered + buffered + rejected + declared holds by count at any time.
package tidegate
