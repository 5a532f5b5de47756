package receive

// An Account says what a receiver has, of every gateway and epoch. Rows are counted since the ledger was begun, Received since
// the receiver was started.
type Account struct {
	Gateways []GatewayAccount `json:"gateways"`
	Received uint64           `json:"received_payloads"`          // taken in since the start
	Refused  uint64           `json:"refused_payloads"`           // set aside because they could not be understood
	Forgot   uint64           `json:"forgotten_epochs,omitempty"` // of gateways that had too many
}

// A GatewayAccount is the account of one gateway; its current epoch stands last.
type GatewayAccount struct {
	Gateway string         `json:"gateway"`
	Epochs  []EpochAccount `json:"epochs"`
}

// An EpochAccount is the account of one epoch.
type EpochAccount struct {
	Epoch          string `json:"epoch"`
	StoredRecords  uint64 `json:"stored_records"`
	StoredReadings uint64 `json:"stored_readings"`
	Duplicates     uint64 `json:"duplicates"` // records that came again and were dropped
	Highest        uint64 `json:"highest"`    // the highest number stored, skipped or declared a gap
	Upto           uint64 `json:"upto"`       // as in the last receipt
	Holes          Ranges `json:"holes"`      // numbers below Highest of which nothing is known
	Skipped        uint64 `json:"skipped"`    // numbers not meant for this uplink
	Gaps           []Gap  `json:"gaps"`
	GapCount       int64  `json:"gap_count"`   // readings known to be lost in the gaps, less those that came after all
	GapAtMost      int64  `json:"gap_at_most"` // the most that can be lost where it is not known exactly, likewise
	HeldRecords    int    `json:"held_records"`
	HeldParts      int    `json:"held_parts"`
	Discarded      uint64 `json:"discarded"` // records of which parts were held and given up
}

// Account returns the account of what the Sink has made durable. It may be called at any time.
func (r *Receiver) Account() Account {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.ledger.Account()
	a.Received = r.received.Load()
	return a
}

// Account returns the account of l.
func (l *Ledger) Account() Account {
	a := Account{Gateways: []GatewayAccount{}, Refused: l.Refused, Forgot: l.Forgotten}
	for _, gateway := range l.Gateways() {
		g := GatewayAccount{Gateway: gateway}
		for _, k := range l.Keys(gateway) {
			g.Epochs = append(g.Epochs, l.Row(k).account(k.Epoch))
		}
		a.Gateways = append(a.Gateways, g)
	}
	return a
}

// account returns the account of r, which belongs to epoch.
func (r *Row) account(epoch string) EpochAccount {
	upto, _ := r.Receipt()
	e := EpochAccount{
		Epoch: epoch, StoredRecords: r.Records, StoredReadings: r.Readings, Duplicates: r.Duplicates,
		Highest: r.highest(), Upto: upto, Holes: Ranges{r.Holes()}, Skipped: r.Skipped.Len(),
		Gaps: []Gap{}, HeldRecords: len(r.Held), Discarded: r.Discarded,
	}
	for _, g := range r.Gaps {
		g.Open, g.Again = Ranges{g.Open.Clone()}, Ranges{g.Again.Clone()}
		e.Gaps = append(e.Gaps, g)
		late := int64(g.LateReadings)
		e.GapCount += max(0, g.Count-late)
		e.GapAtMost += max(0, g.AtMost-late)
	}
	for i := range r.Held {
		for _, p := range r.Held[i].Parts {
			if p != nil {
				e.HeldParts++
			}
		}
	}
	return e
}
