package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// survives names, for each fault that disks, power and machines bring about, the tests that bring it about. TestSurvives sees that they are there.
var survives = []struct {
	fault string
	what  string
	tests []string // directory of the package below the root, and name
}{
	{"F-01", "the backlog reaches its limit", []string{"buffer TestOldestIsDroppedAndDeclared", "buffer TestSmallDiskDropsTheOldest"}},
	{"F-02", "another process fills the disk at full speed", []string{"testdata/rig/crash TestDiskFull", "buffer TestFullDiskLosesNothing"}},
	{"F-03", "a start with nothing free", []string{"agent TestStartOnFullDisk", "buffer TestOpensOnAFullDisk"}},
	{"F-04", "no inodes left", []string{"testdata/rig/crash TestInodesExhausted"}},
	{"F-05", "power cut under load", []string{"testdata/rig/crash TestPowerCut", "testdata/rig/crash TestPowerCutUnsynced"}},
	{"F-06", "power cut while a backlog is delivered and dropped", []string{"testdata/rig/crash TestPowerCutInDrain"}},
	{"F-07", "power cut while the store merges and removes tables", []string{"testdata/rig/crash TestPowerCutInCompaction"}},
	{"F-08", "reset of the whole machine", []string{"testdata/rig/crash TestPowerCutOfGuest", "testdata/rig/deb TestWhole"}},
	{"F-09", "what was not flushed is there or not, sector by sector", []string{"testdata/rig/crash TestPowerCutOfGuest", "testdata/rig/bed TestCacheDisk"}},
	{"F-10", "a sync fails", []string{"testdata/rig/crash TestSyncFails"}},
	{"F-11", "no sync goes well any more", []string{"testdata/rig/crash TestSyncFailsForEver", "testdata/rig/crash TestDiskRefuses"}},
	{"F-12", "syncs take 2 s", []string{"testdata/rig/crash TestSyncTakesLong"}},
	{"F-13", "the disk turns read-only", []string{"testdata/rig/crash TestDiskTurnsReadOnly", "testdata/rig/crash TestDiskReadOnly", "testdata/rig/misuse TestUnusable"}},
	{"F-14", "damage in a table", []string{"testdata/rig/crash TestDamages", "buffer TestFlippedBitsAreNeverShown"}},
	{"F-15", "damage in a log", []string{"testdata/rig/crash TestDamages", "buffer/disk TestTailLost"}},
	{"F-16", "damage in the list of tables", []string{"testdata/rig/crash TestDamages", "buffer TestDamagedStoreIsSetAside", "agent/line TestStoreIsOlder"}},
	{"F-17", "a second gateway, and a lock that a dead one left", []string{"testdata/rig/misuse TestSecondInstance"}},
	{"F-18", "the state directory is deleted", []string{"testdata/rig/crash TestStateDeleted", "testdata/rig/crash TestDiskGone"}},
	{"F-19", "an old copy of the state directory is put back", []string{"testdata/rig/crash TestRestoredBackup", "agent/line TestPowerCutBehindARestoredBackup"}},
	{"F-20", "kill -9", []string{"testdata/rig/crash TestKilledSlowly", "testdata/rig/crash TestKilledReceipt", "testdata/rig/crash TestKilledPuback", "testdata/rig/crash TestKilledRules"}},
	{"F-21", "the process stands still", []string{"testdata/rig/crash TestStandsStill"}},
	{"F-22", "the kernel kills it for memory", []string{"testdata/rig/crash TestOutOfMemory"}},
	{"F-23", "a hundredth of a processor", []string{"testdata/rig/crash TestLittleProcessor"}},
	{"F-24", "no file descriptors left", []string{"testdata/rig/crash TestNoDescriptors"}},
}

// TestSurvives: each fault has a test, and each of those that are named is there.
func TestSurvives(t *testing.T) {
	tests := map[string][]string{} // by directory
	for i, s := range survives {
		if want := fmt.Sprintf("F-%02d", i+1); s.fault != want || len(s.tests) == 0 {
			t.Errorf("row %d is %s with %d tests, want %s and some", i+1, s.fault, len(s.tests), want)
		}
		for _, test := range s.tests {
			dir, name, _ := strings.Cut(test, " ")
			if tests[dir] == nil {
				tests[dir] = testsIn(t, dir)
			}
			if !slices.Contains(tests[dir], name) {
				t.Errorf("%s, %s: there is no %s in %s", s.fault, s.what, name, dir)
			}
		}
	}
}

var testName = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// testsIn returns the tests of the package in a directory below the root.
func testsIn(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(bed.Root(), filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{""}
	for _, path := range list {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testName.FindAllStringSubmatch(string(b), -1) {
			names = append(names, m[1])
		}
	}
	return names
}
