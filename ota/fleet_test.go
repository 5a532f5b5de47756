package ota_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota"
	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/outcome"
	"github.com/tidegate-io/tidegate/ota/release"
)

// A fleet is gateways that look at one repository, each with slots of its own.
type fleet struct {
	*testing.T
	owner *owner
	list  []*gateway
	said  bytes.Buffer // what became of releases, a line each
}

// look has each gateway look for a release. It returns how many found it to be v, and how many found nothing to take.
func (f *fleet) look(v string) (takers []*gateway, nothing int) {
	f.Helper()
	for _, g := range f.list {
		switch got := g.fetch(); got {
		case v:
			takers = append(takers, g)
		case "nothing", "known-bad":
			nothing++
		default:
			f.Errorf("gateway %s got %s, want %s or nothing", g.o.Machine.Gateway, got, v)
		}
	}
	return takers, nothing
}

// try starts what a gateway has staged, and says what became of it.
func (f *fleet) try(g *gateway, counter uint64, fails bool) {
	f.Helper()
	u := g.open()
	err := u.Slots().Switch(nil, time.Minute)
	result := "kept"
	if fails {
		result = "failed"
		err = errors.Join(err, u.Slots().Fail("crashed"))
	} else {
		u.Slots().Launch()
		err = errors.Join(err, u.Confirm())
	}
	f.owner.must(err)
	fmt.Fprintf(&f.said, `{"gateway":%q,"counter":%d,"result":%q}`+"\n", g.o.Machine.Gateway, counter, result)
}

// TestFleet: a release goes to a tenth of 200 gateways, one in four of which give it up; so it is halted, and nobody else ever starts it, however wide
// it is signed then. The next release goes to all.
func TestFleet(t *testing.T) {
	const most, least = 500, 10 // 5 %, of ten
	o := newOwner(t)
	f := &fleet{T: t, owner: o}
	o.release(2, func(r *release.File) { r.Stage = 1000 })
	for i := range 200 {
		g := newGateway(t, o)
		g.o.Machine.Gateway = fmt.Sprintf("gw-%d", i)
		f.list = append(f.list, g)
	}
	takers, nothing := f.look("v1.2.0")
	if n := len(takers); n < 12 || n > 28 || n+nothing != 200 {
		t.Fatalf("%d of 200 gateways take a release of 10 %% and %d do not, want 6 to 14 %%, and all of them", n, nothing)
	}
	for i, g := range takers {
		f.try(g, 2, i%4 == 0)
	}
	count, err := outcome.Read(&f.said, 2)
	o.must(err)
	if count.Tried() != len(takers) || count.Failed != (len(takers)+3)/4 || !count.Over(most, least) {
		t.Fatalf("counted %+v of %d gateways, want that a quarter failed, and that it is too many", count, len(takers))
	}
	o.must(o.Do(func(r *publish.Repo) error { return r.Hold(o.Online(), 2, 0) }))
	o.must(o.Stage(2, release.All))
	if takers, _ := f.look("v1.2.0"); len(takers) > 0 {
		t.Errorf("%d gateways take a release that is halted", len(takers))
	}
	o.release(3, nil)
	takers, _ = f.look("v1.3.0")
	if len(takers) != 200 {
		t.Errorf("%d of 200 gateways take the next release", len(takers))
	}
	for _, g := range takers {
		f.try(g, 3, false)
		if r := g.open().Running(); r != (ota.Release{Counter: 3, Version: "v1.3.0"}) {
			t.Errorf("%s runs %+v, want release 3", g.o.Machine.Gateway, r)
		}
	}
}
