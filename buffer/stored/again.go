package stored

import "github.com/tidegate-io/tidegate"

// An Again is records of one class and epoch that were set aside for an uplink and go to it again, under the same numbers.
type Again struct {
	Class  tidegate.Class
	Epoch  uint32
	Ranges tidegate.Ranges
	Count  uint64          // readings in them
	In     uint32          // epoch of Until
	Until  tidegate.Ranges // numbers of class audit, among them the record that tells the far side; empty = it is not on its way yet
}

// EncodeAgain returns the stored form of list.
func EncodeAgain(list []Again) []byte {
	p := newPacker()
	p.uint(uint64(len(list)))
	for i := range list {
		a := &list[i]
		p.uint(uint64(a.Class))
		p.uint(uint64(a.Epoch))
		p.ranges(a.Ranges)
		p.uint(a.Count)
		p.uint(uint64(a.In))
		p.ranges(a.Until)
	}
	return p.seal()
}

// DecodeAgain is the inverse of EncodeAgain.
func DecodeAgain(b []byte) (list []Again, err error) {
	u := unseal("records that go again", b)
	for range u.count() {
		list = append(list, Again{Class: u.class(), Epoch: u.uint32(), Ranges: u.ranges(), Count: u.uint(), In: u.uint32(), Until: u.ranges()})
	}
	if err := u.done(); err != nil {
		return nil, err
	}
	return list, nil
}
