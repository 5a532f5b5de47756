package main

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

// catalogue names, for each fault and each attack on updates that the gateway is built for, the tests that bring it about. TestCatalogue sees that they are there.
var catalogue = []struct {
	row, what string
	tests     []string // directory of the package below the root, and name
}{
	// what disks, power and machines bring about
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
	// an update that is cut off, or no good
	{"F-31", "kill at each system call of an update", []string{"testdata/rig/brick TestKill", "testdata/rig/update TestKilled"}},
	{"F-32", "power cut at each step of an update that lasts", []string{"testdata/rig/brick TestPowerCut", "testdata/rig/brick TestEachSync", "testdata/rig/deb TestWhole"}},
	{"F-33", "a release that crashes, hangs, leaks or is mute", []string{"testdata/rig/update TestBadReleases", "testdata/rig/deb TestWhole", "agent/update TestTrials"}},
	{"F-34", "no network in the trial, and none before", []string{"testdata/rig/update TestNoNetwork", "ota/trial TestVerdicts"}},
	// attacks on updates
	{"R-01", "signed by fewer than must", []string{"ota/trust TestConformance", "ota/trust TestPinned"}},
	{"R-02", "bytes that nothing signed covers", []string{"ota/trust TestNoByteMayBeChangedOnTheWay", "ota/fetch TestEachByteOfAFile"}},
	{"R-03", "older than what was trusted", []string{"ota/trust TestCounter", "ota/trust TestOlderCacheLowersNothing", "ota/trust TestEachPartOfTheCacheProves", "ota TestNeverBack"}},
	{"R-04", "versions set far ahead by stolen keys", []string{"ota/trust TestConformance", "ota/trust TestOtherKeysBeginAnew"}},
	{"R-05", "metadata that expired, or never change", []string{"ota/trust TestHoldAndExpires", "ota/trust TestConformance", "testdata/rig/update TestRefused"}},
	{"R-06", "a damaged cache", []string{"ota/trust TestDamagedCacheIsRepairedWithinOneCycle", "ota/trust TestDamagedFloorsAreRebuilt"}},
	{"R-07", "metadata that do not belong together", []string{"ota/trust TestConformance", "ota/trust TestBothHashesCount"}},
	{"R-08", "data without end, or without hurry", []string{"ota/fetch TestSlowServers", "ota/fetch TestLiesOfServers", "testdata/rig/update TestRefused"}},
	{"R-09", "for another machine", []string{"ota TestWhoIsRefused", "ota/release TestFits", "ota/slots TestRefused"}},
	{"R-10", "a mirror of somebody else", []string{"ota TestPlaces", "ota/fetch TestMirrors"}},
	{"R-11", "keys that were stolen or dropped", []string{"ota/publish TestStolenOnlineKeys", "ota/trust TestRevokedKeysAreRefused", "ota/publish TestLostRootKeys"}},
	{"R-12", "kill or power cut anywhere", []string{"testdata/rig/brick TestKill", "testdata/rig/brick TestPowerCut"}},
	{"R-13", "no slot that is good", []string{"ota/slots TestDamage", "ota/slots TestAllTried", "ota/slots TestSafe", "cmd/tidegate-launch TestRun"}},
	{"R-14", "a trial that does not go well", []string{"ota/trial TestVerdicts", "ota/trial TestNeverKeptUnhealthy", "testdata/rig/update TestBadReleases"}},
	{"R-15", "the release before finds what a newer one stored", []string{"testdata/rig/update TestBadReleases", "testdata/rig/deb TestWhole"}},
	{"R-16", "a release that fails again and again", []string{"ota TestNotAskedFor", "ota/slots TestGivenUp", "testdata/rig/update TestBadReleases"}},
	{"R-17", "a download that goes on elsewhere, or with other bytes", []string{"ota/fetch TestResume", "ota/fetch TestKilledAgainAndAgain", "ota/fetch TestNoOtherHelpsFromTheBeginning"}},
	{"R-18", "changed between check and use", []string{"ota/slots TestSwappedAfterStage", "ota/slots TestWhatWasHashedIsStarted", "cmd/tidegate-launch TestWhatWasHashedIsStarted"}},
	{"R-19", "a stage, a hold, a server that asks for patience", []string{"ota/release TestRollout", "ota/release TestHoldOnlyNarrows", "ota/fetch TestRetryAfterIsHonoured"}},
	{"R-20", "an outcome that nobody could be told of", []string{"agent/update TestToldOnce", "testdata/rig/deb TestWhole"}},
	// bad input to updates
	{"B-27", "metadata unsigned, or signed twice by one key", []string{"ota/trust TestConformance"}},
	{"B-28", "versions and times that are none", []string{"ota/trust TestMalformed"}},
	{"B-29", "names that must not become a path", []string{"ota/trust TestNamesOfTargets", "ota/trust TestConformance"}},
	{"B-31", "lengths and hashes that are wrong or missing", []string{"ota/trust TestMalformed", "ota/trust TestBothHashesCount", "ota/slots TestRefused", "testdata/rig/update TestRefused"}},
	{"B-32", "a program for another machine, a script, nothing, cut", []string{"ota/slots TestRefused", "testdata/rig/update TestRefused"}},
	{"B-33", "servers that lie", []string{"ota/fetch TestLiesOfServers"}},
}

// TestCatalogue: no row is named twice, each has a test, and each of those that are named is there.
func TestCatalogue(t *testing.T) {
	tests := map[string][]string{} // by directory
	var rows []string
	for _, c := range catalogue {
		if slices.Contains(rows, c.row) || len(c.tests) == 0 {
			t.Errorf("%s: named before, or no test", c.row)
		}
		rows = append(rows, c.row)
		for _, test := range c.tests {
			dir, name, _ := strings.Cut(test, " ")
			if tests[dir] == nil {
				tests[dir] = testsIn(t, dir)
			}
			if !slices.Contains(tests[dir], name) {
				t.Errorf("%s, %s: there is no %s in %s", c.row, c.what, name, dir)
			}
		}
	}
	for _, want := range []struct {
		letter      string
		first, last int
	}{{"F", 1, 24}, {"F", 31, 34}, {"R", 1, 20}, {"B", 27, 29}, {"B", 31, 33}} {
		for i := want.first; i <= want.last; i++ {
			if row := fmt.Sprintf("%s-%02d", want.letter, i); !slices.Contains(rows, row) {
				t.Errorf("%s has no row", row)
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
	var names []string
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
