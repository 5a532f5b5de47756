package export

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// mostRejected is how many runs Rejected lists.
const mostRejected = 10_000

// Rejected lists what q has set aside.
func Rejected(q *buffer.Queue) (list status.RejectedList, err error) {
	list.Rejected = []status.Rejected{}
	dec, err := frame.NewDecoder()
	if err != nil {
		return list, err
	}
	epochs := q.Epochs()
	var recs []tidegate.Record
	var last *status.Rejected
	err = q.Aside(func(a buffer.Aside) error {
		r := status.Rejected{
			Uplink: a.Uplink, Epoch: epochs[a.Epoch].ID, First: a.First, Last: a.Last, Class: a.Class.String(), Records: a.Last - a.First + 1, Why: a.Why,
		}
		n := int(r.Records)
		var err error
		if recs, err = dec.Decode(recs[:0], a.Class, 1, a.Body); err == nil && a.Skip+n <= len(recs) {
			mine := recs[a.Skip : a.Skip+n]
			for i := range mine {
				r.Readings += uint64(len(mine[i].Readings))
			}
			r.From, r.To = status.Time{Time: mine[0].Time}, status.Time{Time: mine[n-1].Time}
		}
		if last != nil && last.Last+1 == r.First && last.Uplink == r.Uplink && last.Epoch == r.Epoch && last.Class == r.Class && last.Why == r.Why {
			last.Last, last.To = r.Last, r.To
			last.Records += r.Records
			last.Readings += r.Readings
			return nil
		}
		if len(list.Rejected) == mostRejected {
			list.More++
			return nil
		}
		list.Rejected = append(list.Rejected, r)
		last = &list.Rejected[len(list.Rejected)-1]
		return nil
	})
	return list, err
}

// Requeue makes what r asks for go to its uplink again; again does it, some or all of it at a time. Where nothing of it is set aside, or it is not
// said clearly which, it is an error, and nothing is changed.
func Requeue(q *buffer.Queue, r status.Requeue, again func(*buffer.Requeue) error) (done status.Requeued, err error) {
	done = status.Requeued{Uplink: r.Uplink, Stay: []string{}}
	x := &buffer.Requeue{Uplink: r.Uplink, Epoch: r.Epoch, Range: tidegate.Range{First: max(r.From, 1), Last: r.To}}
	if x.Range.Last == 0 {
		x.Range.Last = math.MaxUint64
	}
	switch {
	case !r.All && r.From == 0 && r.To == 0 && r.Epoch == "":
		return done, errors.New("say which records: --from and --to, or --all")
	case r.All && (r.From != 0 || r.To != 0):
		return done, errors.New("either --all, or --from and --to")
	case x.Range.Len() == 0:
		return done, fmt.Errorf("numbers %d to %d: the first is higher than the last", r.From, r.To)
	}
	if err := find(q, &r, x); err != nil {
		return done, err
	}
	done.Uplink = x.Uplink
	err = again(x)
	done.Records, done.Readings, done.Stay = x.Done.Records, x.Done.Readings, append(done.Stay, x.Stay...)
	return done, err
}

// find looks for what r asks for among what is set aside, and completes x.
func find(q *buffer.Queue, r *status.Requeue, x *buffer.Requeue) error {
	epochs := q.Epochs()
	uplinks, names, there := map[string]bool{}, map[string]bool{}, map[string]bool{}
	err := q.Aside(func(a buffer.Aside) error {
		there[a.Uplink] = true
		id := epochs[a.Epoch].ID
		if a.First <= x.Range.Last && a.Last >= x.Range.First && (r.Epoch == "" || r.Epoch == id) && (r.Uplink == "" || r.Uplink == a.Uplink) {
			uplinks[a.Uplink], names[id] = true, true
		}
		return nil
	})
	list := func(m map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(m)), ", ") }
	what := "nothing"
	if !r.All {
		what = fmt.Sprintf("no record from %d to %d", x.Range.First, x.Range.Last)
		if r.To == 0 {
			what = fmt.Sprintf("no record from %d on", x.Range.First)
		}
	}
	of := ""
	if r.Uplink != "" {
		of += " of uplink " + r.Uplink
	}
	if r.Epoch != "" {
		of += " of epoch " + r.Epoch
	}
	switch {
	case err != nil:
		return err
	case len(uplinks) == 0 && len(there) == 0:
		return fmt.Errorf("%s%s is set aside: there is nothing set aside at all", what, of)
	case len(uplinks) == 0:
		return fmt.Errorf("%s%s is set aside; see: tidegate queue rejected", what, of)
	case len(uplinks) > 1:
		return fmt.Errorf("records are set aside for several uplinks: say which by --uplink, of %s", list(uplinks))
	case len(names) > 1 && !r.All:
		return fmt.Errorf("there are records of these numbers in several epochs: say which by --epoch, of %s", list(names))
	}
	x.Uplink = slices.Sorted(maps.Keys(uplinks))[0]
	if _, err := q.Cursor(x.Uplink); err != nil {
		return fmt.Errorf("uplink %s is not in the configuration any more: what is set aside for it can go nowhere", x.Uplink)
	}
	return nil
}
