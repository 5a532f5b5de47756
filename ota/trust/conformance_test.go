package trust

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

var update = flag.Bool("update", false, "write the table of conformance cases into README.md")

// A conformance case has the name that it has in theupdateframework/tuf-conformance, where its test_ is left out, and its answer, as far as that
// is not what is asked for there.
type conformance struct {
	name   string
	answer string
	run    func(t *testing.T, r *repo, g *gateway)
}

const (
	asAsked     = "as asked"
	byHash      = "refused: hashes and lengths are asked for (ErrLength)"
	byAlgorithm = "refused: a key that is not Ed25519 counts for nothing (ErrSignature)"
	delegated   = "refused: no delegations (ErrDelegation)"
)

// TestConformance goes through the cases of the TUF conformance suite (commit eec841c), and writes what becomes of them into README.md.
func TestConformance(t *testing.T) {
	all := slices.Concat(basicCases(), expiryCases(), rollbackCases(), fileCases(), keyCases(), rotationCases(), delegationCases())
	functions := map[string]bool{}
	for _, c := range all {
		functions[strings.SplitN(c.name, "/", 2)[0]] = true
		t.Run(c.name, func(t *testing.T) {
			r := newRepo(t)
			c.run(t, r, newGateway(t, r))
		})
	}
	if len(functions) != 53 {
		t.Errorf("got %d cases, the suite has 53", len(functions))
	}
	var table strings.Builder
	table.WriteString("\n| case | answer | test |\n|---|---|---|\n")
	for _, c := range all {
		fmt.Fprintf(&table, "| `%s` | %s | `TestConformance/%s` |\n", c.name, c.answer, strings.ReplaceAll(c.name, " ", "_"))
	}
	table.WriteString("\n")
	const begin, end, path = "<!-- conformance: written by go test ./ota/trust -update -->\n", "<!-- end -->", "README.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	was, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table, want %q and %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if was != table.String() {
		t.Errorf("the table in %s is not that of the tests: go test ./ota/trust -update", path)
	}
}

func basicCases() []conformance {
	return slices.Concat([]conformance{
		{"basic_refresh_requests", asAsked, func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			g.wantAsked("2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json")
		}},
		{"basic_refresh_trusted_data", asAsked, func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			g.wantBytes("1.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json")
		}},
		{"implicit_refresh", asAsked + ": files are only known from a cycle", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			if slices.ContainsFunc(g.last.Files, func(f File) bool { return f.Name != "linux-arm64" }) {
				t.Errorf("got files %v, want linux-arm64 only", g.last.Files)
			}
			g.wantAsked("2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json")
		}},
		{"invalid_initial_root", asAsked + " (ErrNoTrust)", func(t *testing.T, r *repo, g *gateway) {
			g.pinned = bytes.Replace(g.pinned, []byte(`,"version":1`), nil, 1)
			g.wantRefused(ErrNoTrust, Versions{})
			g.wantAsked()
		}},
		{"unsigned_initial_root", asAsked + " (ErrNoTrust)", func(t *testing.T, r *repo, g *gateway) {
			g.pinned = r.sign(&r.root, newKeys("root", 1)...)
			g.wantRefused(ErrNoTrust, Versions{})
			g.wantAsked()
		}},
		{"timestamp_content_changes", "refused (ErrChanged); there, the old one goes on to be used without a word", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			before := g.tree()
			r.timestamp.Meta["snapshot.json"].Version = 100
			r.serve(timestamp)
			g.wantRefused(ErrChanged, Versions{1, 1, 1, 1})
			g.wantTree(before)
		}},
		{"basic_metadata_hash_support", asAsked + " (ErrHash)", func(t *testing.T, r *repo, g *gateway) {
			r.publish(targets, snapshot, timestamp)
			g.wantGood(Versions{1, 2, 2, 2})
			r.publish(targets)
			r.snapshot.Meta["targets.json"].Hashes["sha256"] = bytes.Repeat([]byte{0x5a}, sha256.Size)
			r.publish(snapshot, timestamp)
			g.wantRefused(ErrHash, Versions{1, 3, 3, 2})
		}},
		{"new_targets_hash_mismatch", asAsked + " (ErrHash)", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			r.publish(targets, snapshot, timestamp)
			r.targets.Expires = r.targets.Expires.Add(time.Second)
			r.serve(targets)
			g.wantRefused(ErrHash, Versions{1, 2, 2, 1})
		}},
		{"snapshot_hash_mismatch", asAsked + " (ErrHash)", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			r.publish(snapshot, timestamp)
			r.snapshot.Expires = r.snapshot.Expires.Add(time.Second)
			r.serve(snapshot)
			g.wantRefused(ErrHash, Versions{1, 2, 1, 1})
		}},
		{"metadata_bytes_match", asAsked, func(t *testing.T, r *repo, g *gateway) {
			r.served["timestamp.json"] = append(r.served["timestamp.json"], ' ')
			g.wantGood(Versions{1, 1, 1, 1})
			g.wantBytes("timestamp.json")
		}},
		{"custom_fields", asAsked, func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			k := newKey("custom")
			r.root.UnrecognizedFields = map[string]any{"custom-field": "value"}
			r.root.Roles[root].KeyIDs = append(r.root.Roles[root].KeyIDs, k.id)
			r.root.Roles[root].UnrecognizedFields = map[string]any{"another-field": []int{1}}
			r.root.Keys[k.id] = k.public()
			r.root.Keys[k.id].UnrecognizedFields = map[string]any{"extra-field": map[string]int{"a": 1, "b": 2}}
			r.signers[root] = append(r.signers[root], k)
			r.publish(root)
			g.wantGood(Versions{2, 1, 1, 1})
		}},
		{"deprecated_keyid_hash_algorithms", asAsked, func(t *testing.T, r *repo, g *gateway) {
			k := newKey("odd")
			r.grant(snapshot, 1, k)
			r.root.Keys[k.id].UnrecognizedFields = map[string]any{"keyid_hash_algorithms": "md5"}
			r.publish(root, snapshot, timestamp)
			g.wantGood(Versions{2, 2, 2, 1})
		}},
		{"snapshot_404", asAsked + " (ErrMissing)", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			r.timestamp.Meta["snapshot.json"].Version++
			r.publish(timestamp)
			// The bytes that are cached are not those that are named; there, only the version tells.
			r.timestamp.Meta["snapshot.json"].Hashes["sha256"][0]++
			r.serve(timestamp)
			g.wantRefused(ErrMissing, Versions{1, 2, 1, 1})
			g.wantAsked("2.root.json", "timestamp.json", "2.snapshot.json")
		}},
		{"targets_404", asAsked + " (ErrMissing)", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			r.snapshot.Meta["targets.json"].Version++
			r.snapshot.Meta["targets.json"].Hashes["sha256"][0]++
			r.publish(snapshot, timestamp)
			g.wantRefused(ErrMissing, Versions{1, 2, 2, 1})
			g.wantAsked("2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json")
		}},
		{"timestamp_404", asAsked + " (ErrMissing)", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			delete(r.served, "timestamp.json")
			g.wantRefused(ErrMissing, Versions{1, 1, 1, 1})
			g.wantAsked("2.root.json", "timestamp.json")
		}},
		{"incorrect_metadata_type", asAsked + " (ErrMalformed)", func(t *testing.T, r *repo, g *gateway) {
			r.publish(root)
			r.snapshot.Version = 2
			r.snapshot.Meta = r.timestamp.Meta
			r.served["timestamp.json"] = r.sign(&r.snapshot, r.signers[timestamp]...)
			g.wantRefused(ErrMalformed, Versions{Root: 2})
		}},
		{"faketime", asAsked + ": time is what the caller says", func(t *testing.T, r *repo, g *gateway) {
			r.timestamp.Expires = day.AddDate(0, 0, 7)
			r.publish(timestamp)
			g.wantGood(Versions{1, 2, 1, 1})
			g.now = day.AddDate(0, 0, 7)
			g.wantRefused(ErrExpired, Versions{1, 2, 1, 1})
			g.now = g.now.Add(-time.Second)
			g.wantGood(Versions{1, 2, 1, 1})
		}},
		{"static_repository", byAlgorithm + ": the suite's stored repositories are signed by ECDSA keys", func(t *testing.T, r *repo, g *gateway) {
			for _, k := range r.root.Keys {
				k.Type, k.Scheme = "ecdsa", "ecdsa-sha2-nistp256"
			}
			g.pinned = r.sign(&r.root, r.signers[root]...)
			g.wantRefused(ErrSignature, Versions{})
		}},
	}, unsignedCases(), mismatchCases())
}

func unsignedCases() (out []conformance) {
	for role, want := range map[string]Versions{root: {Root: 1}, timestamp: {Root: 2}, snapshot: {2, 2, 0, 0}, targets: {2, 2, 2, 0}} {
		out = append(out, conformance{"unsigned_metadata/" + role, asAsked + " (ErrSignature)", func(t *testing.T, r *repo, g *gateway) {
			r.signers[role] = r.signers[role][1:]
			r.publish(root, targets, snapshot, timestamp)
			g.wantRefused(ErrSignature, want)
		}})
	}
	return sorted(out)
}

func mismatchCases() (out []conformance) {
	for role, want := range map[string]Versions{root: {Root: 1}, snapshot: {2, 2, 0, 0}, targets: {2, 2, 2, 0}} {
		out = append(out, conformance{"url_and_metadata_version_mismatch/" + role, asAsked + " (ErrVersion)", func(t *testing.T, r *repo, g *gateway) {
			for _, one := range []string{root, targets, snapshot, timestamp} {
				version, signed := r.state(one)
				*version++
				if one == role {
					*version++
					r.put(one, 2, r.sign(signed, r.signers[one]...))
					continue
				}
				r.serve(one)
			}
			g.wantRefused(ErrVersion, want)
		}})
	}
	return sorted(out)
}

func sorted(cases []conformance) []conformance {
	slices.SortFunc(cases, func(a, b conformance) int { return strings.Compare(a.name, b.name) })
	return cases
}

func expiryCases() []conformance {
	past := day.AddDate(0, 0, -1)
	return []conformance{
		{"root_expired", asAsked + " (ErrExpired): root is kept, nothing else moves", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			r.publish(root)
			g.wantGood(Versions{2, 1, 1, 1})
			r.root.Expires = past
			r.publish(root, targets, snapshot, timestamp)
			g.wantRefused(ErrExpired, Versions{3, 1, 1, 1})
			g.wantAsked("3.root.json", "4.root.json")
		}},
		{"timestamp_expired", asAsked + " (ErrExpired)", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			r.timestamp.Expires = past
			r.publish(timestamp)
			g.wantRefused(ErrExpired, Versions{1, 1, 1, 1})
		}},
		{"snapshot_expired", asAsked + " (ErrExpired): timestamp moves, snapshot does not", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			r.snapshot.Expires = past
			r.publish(snapshot, timestamp)
			g.wantRefused(ErrExpired, Versions{1, 2, 1, 1})
		}},
		{"targets_expired", asAsked + " (ErrExpired)", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			r.targets.Expires = past
			r.publish(targets, snapshot, timestamp)
			g.wantRefused(ErrExpired, Versions{1, 2, 2, 1})
		}},
		{"expired_local_root", asAsked + ": recovers", func(t *testing.T, r *repo, g *gateway) {
			r.root.Expires = day.AddDate(0, 0, 7)
			r.publish(root)
			g.wantGood(Versions{2, 1, 1, 1})
			g.now = day.AddDate(0, 0, 18)
			g.wantRefused(ErrExpired, Versions{2, 1, 1, 1})
			r.root.Expires = day.AddDate(0, 0, 21)
			r.publish(root)
			g.wantGood(Versions{3, 1, 1, 1})
		}},
		{"expired_local_timestamp", asAsked + ": recovers", func(t *testing.T, r *repo, g *gateway) {
			r.timestamp.Expires = day.AddDate(0, 0, 7)
			r.publish(timestamp)
			g.wantGood(Versions{1, 2, 1, 1})
			r.timestamp.Expires = day.AddDate(0, 0, 21)
			r.publish(targets, snapshot, timestamp)
			g.now = day.AddDate(0, 0, 18)
			g.wantGood(Versions{1, 3, 2, 2})
		}},
	}
}

func rollbackCases() []conformance {
	return []conformance{
		{"new_timestamp_version_rollback", asAsked + " (ErrRollback)", func(t *testing.T, r *repo, g *gateway) {
			r.publish(timestamp)
			g.wantGood(Versions{1, 2, 1, 1})
			r.timestamp.Version = 1
			r.serve(timestamp)
			g.wantRefused(ErrRollback, Versions{1, 2, 1, 1})
			g.wantAsked("2.root.json", "timestamp.json")
		}},
		{"snapshot_rollback/with hashes", asAsked + " (ErrRollback)", func(t *testing.T, r *repo, g *gateway) {
			r.publish(snapshot, timestamp)
			g.wantGood(Versions{1, 2, 2, 1})
			r.snapshot.Version = 1
			r.serve(snapshot)
			r.publish(timestamp)
			g.wantRefused(ErrRollback, Versions{1, 2, 2, 1})
			g.wantAsked("2.root.json", "timestamp.json")
		}},
		{"snapshot_rollback/basic", byHash, func(t *testing.T, r *repo, g *gateway) {
			r.timestamp.Meta["snapshot.json"] = metadata.MetaFile(1)
			r.publish(timestamp)
			g.wantRefused(ErrLength, Versions{Root: 1})
		}},
		{"targets_rollback/with hashes", asAsked + " (ErrRollback)", func(t *testing.T, r *repo, g *gateway) {
			r.publish(targets, snapshot, timestamp)
			g.wantGood(Versions{1, 2, 2, 2})
			r.targets.Version = 1
			r.serve(targets)
			r.publish(snapshot, timestamp)
			g.wantRefused(ErrRollback, Versions{1, 3, 2, 2})
			g.wantAsked("2.root.json", "timestamp.json", "3.snapshot.json")
		}},
		{"targets_rollback/basic", byHash, func(t *testing.T, r *repo, g *gateway) {
			r.snapshot.Meta["targets.json"] = metadata.MetaFile(1)
			r.publish(snapshot, timestamp)
			g.wantRefused(ErrLength, Versions{1, 2, 0, 0})
		}},
		{"targets_role_removal", asAsked + " (ErrMalformed)", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			delete(r.snapshot.Meta, "targets.json")
			r.publish(snapshot, timestamp)
			g.wantRefused(ErrMalformed, Versions{1, 2, 1, 1})
		}},
		{"new_timestamp_fast_forward_recovery", asAsked, func(t *testing.T, r *repo, g *gateway) {
			r.timestamp.Version = 99
			r.publish(timestamp)
			g.wantGood(Versions{1, 100, 1, 1})
			r.timestamp.Version = 0
			r.publish(timestamp)
			g.wantRefused(ErrRollback, Versions{1, 100, 1, 1})
			r.grant(timestamp, 1, newKey("another timestamp"))
			r.publish(root)
			r.serve(timestamp)
			g.wantGood(Versions{2, 1, 1, 1})
		}},
		{"new_snapshot_fast_forward_recovery", asAsked, func(t *testing.T, r *repo, g *gateway) {
			r.snapshot.Version = 99998
			r.publish(snapshot, timestamp)
			g.wantGood(Versions{1, 2, 99999, 1})
			r.snapshot.Version = 0
			r.publish(snapshot, timestamp)
			g.wantRefused(ErrRollback, Versions{1, 2, 99999, 1})
			r.grant(timestamp, 1, newKey("another timestamp"))
			r.grant(snapshot, 1, newKey("another snapshot"))
			r.publish(root)
			r.serve(snapshot)
			r.publish(timestamp)
			g.wantGood(Versions{2, 4, 1, 1})
		}},
		{"new_targets_fast_forward_recovery", asAsked, func(t *testing.T, r *repo, g *gateway) {
			r.targets.Version = 99
			r.publish(targets, snapshot, timestamp)
			g.wantGood(Versions{1, 2, 2, 100})
			r.targets.Version = 1
			r.publish(targets, snapshot, timestamp)
			g.wantRefused(ErrRollback, Versions{1, 3, 2, 100})
			r.grant(snapshot, 1, newKey("another snapshot"))
			r.publish(root, snapshot, timestamp)
			g.wantGood(Versions{2, 4, 4, 2})
		}},
	}
}

func fileCases() []conformance {
	only := func(r *repo, g *gateway, algorithms ...string) {
		f := r.targets.Targets["linux-arm64"]
		for a := range f.Hashes {
			if !slices.Contains(algorithms, a) {
				delete(f.Hashes, a)
			}
		}
		r.publish(targets, snapshot, timestamp)
	}
	return []conformance{
		{"client_downloads_expected_file", asAsked, func(t *testing.T, r *repo, g *gateway) {
			r.add("target_file.txt", []byte("expected"))
			r.publish(targets, snapshot, timestamp)
			g.wantGood(Versions{1, 2, 2, 2})
			g.wantFile("target_file.txt", "expected", "")
		}},
		{"client_downloads_expected_file_in_sub_dir", asAsked, func(t *testing.T, r *repo, g *gateway) {
			r.add("path/to/a/target_file.txt", []byte("expected"))
			r.publish(targets, snapshot, timestamp)
			g.wantGood(Versions{1, 2, 2, 2})
			g.wantFile("path/to/a/target_file.txt", "expected", "path/to/a/")
		}},
		{"repository_substitutes_target_file", asAsked + ": lengths and hashes stay what is signed", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			// A source can change what stands in the metadata no more than the file.
			good := r.served["1.targets.json"]
			r.add("linux-arm64", []byte("another one"))
			r.served["1.targets.json"] = r.sign(&r.targets, newKeys("nobody'", 2)...)
			if err := os.Remove(g.file(targets)); err != nil {
				t.Fatal(err)
			}
			g.wantRefused(ErrHash, Versions{1, 1, 1, 0})
			r.served["1.targets.json"] = good
			g.wantGood(Versions{1, 1, 1, 1})
			g.wantFile("linux-arm64", "program one", "")
		}},
		{"multiple_changes_to_target", asAsked, func(t *testing.T, r *repo, g *gateway) {
			for i := range 10 {
				body := fmt.Sprintf("modified %d", i)
				r.add("target_file.txt", []byte(body))
				r.add(fmt.Sprintf("new-target-%d", i), []byte("new"))
				r.publish(targets, snapshot, timestamp)
				if i%5 == 0 {
					g.wantGood(Versions{1, int64(i) + 2, int64(i) + 2, int64(i) + 2})
					g.wantFile("target_file.txt", body, "")
					if n := len(g.last.Files); n != i+3 {
						t.Errorf("got %d files, want %d", n, i+3)
					}
				}
			}
		}},
		{"download_with_hash_algorithms/both", asAsked, func(t *testing.T, r *repo, g *gateway) {
			only(r, g, "sha256", "sha512")
			g.wantGood(Versions{1, 2, 2, 2})
		}},
		{"download_with_hash_algorithms/sha256", "refused: sha256 and sha512 are asked for (ErrHash)", func(t *testing.T, r *repo, g *gateway) {
			only(r, g, "sha256")
			g.wantRefused(ErrHash, Versions{1, 2, 2, 0})
		}},
		{"download_with_hash_algorithms/sha512", "refused: sha256 and sha512 are asked for (ErrHash)", func(t *testing.T, r *repo, g *gateway) {
			only(r, g, "sha512")
			g.wantRefused(ErrHash, Versions{1, 2, 2, 0})
		}},
		{"download_with_unknown_hash_algorithm/alone", asAsked + " (ErrHash)", func(t *testing.T, r *repo, g *gateway) {
			r.targets.Targets["linux-arm64"].Hashes["unknown-hash"] = []byte{1, 2}
			only(r, g, "unknown-hash")
			g.wantRefused(ErrHash, Versions{1, 2, 2, 0})
		}},
		{"download_with_unknown_hash_algorithm/beside both", "accepted: what is known is checked (no case of the suite's)", func(t *testing.T, r *repo, g *gateway) {
			r.targets.Targets["linux-arm64"].Hashes["unknown-hash"] = []byte{1, 2}
			r.publish(targets, snapshot, timestamp)
			g.wantGood(Versions{1, 2, 2, 2})
		}},
		{"artifact_cache", asAsked + ": what is known is not asked for again", func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			first := g.last.Files
			g.wantGood(Versions{1, 1, 1, 1})
			g.wantAsked("2.root.json", "timestamp.json")
			if !slices.EqualFunc(first, g.last.Files, func(a, b File) bool { return a.SHA256 == b.SHA256 && bytes.Equal(a.Custom, b.Custom) }) {
				t.Errorf("got files %v, want %v", g.last.Files, first)
			}
		}},
	}
}

func keyCases() []conformance {
	out := []conformance{
		{"snapshot_does_not_meet_threshold", asAsked + " (ErrSignature)", func(t *testing.T, r *repo, g *gateway) {
			r.grant(snapshot, 3, newKeys("s", 3)...)
			r.publish(root, targets, snapshot, timestamp)
			g.wantGood(Versions{2, 2, 2, 2})
			r.signers[snapshot] = r.signers[snapshot][:2]
			r.publish(targets, snapshot, timestamp)
			g.wantRefused(ErrSignature, Versions{2, 3, 2, 2})
		}},
		{"snapshot_has_too_few_keys", asAsked + " (ErrSignature)", func(t *testing.T, r *repo, g *gateway) {
			r.grant(snapshot, 6, newKeys("s", 5)...)
			r.publish(root, snapshot, timestamp)
			g.wantRefused(ErrSignature, Versions{2, 2, 0, 0})
		}},
		{"duplicate_keys", asAsked + " (ErrMalformed)", func(t *testing.T, r *repo, g *gateway) {
			k := newKey("s")
			r.grant(snapshot, 6, slices.Repeat([]key{k}, 9)...)
			r.publish(root, snapshot, timestamp)
			g.wantRefused(ErrMalformed, Versions{2, 2, 0, 0})
			// Signed once, whatever root says: it is one key.
			r.signers[snapshot] = []key{k}
			r.publish(snapshot, timestamp)
			g.wantRefused(ErrSignature, Versions{2, 3, 0, 0})
			// And under nine IDs.
			nine := newKeys("s", 9)
			for i := range nine {
				nine[i].private = k.private
			}
			r.grant(snapshot, 6, nine...)
			r.publish(root, snapshot, timestamp)
			g.wantRefused(ErrSignature, Versions{3, 4, 0, 0})
		}},
		{"duplicate_sig_keyids", asAsked + " (ErrMalformed)", func(t *testing.T, r *repo, g *gateway) {
			r.signers[snapshot] = slices.Repeat(r.signers[snapshot], 2)
			r.publish(snapshot, timestamp)
			g.wantRefused(ErrMalformed, Versions{1, 2, 0, 0})
		}},
		{"invalid_sig_in_valid_metadata", asAsked, func(t *testing.T, r *repo, g *gateway) {
			two := newKeys("t", 2)
			r.grant(timestamp, 1, two...)
			r.publish(root, timestamp)
			for i, sig := range []string{strings.Repeat("5a", ed25519.SignatureSize), ""} {
				was := hex.EncodeToString(ed25519.Sign(two[0].private, payload(t, r.served["timestamp.json"])))
				r.edit("timestamp.json", was, sig)
				g.wantGood(Versions{2, int64(i) + 2, 1, 1})
				r.publish(timestamp)
			}
		}},
	}
	for _, kind := range [][2]string{{"rsa", "rsassa-pss-sha256"}, {"ecdsa", "ecdsa-sha2-nistp256"}, {"ed25519", "ed25519"}} {
		answer := asAsked
		if kind[0] != "ed25519" {
			answer = byAlgorithm
		}
		out = append(out, conformance{"keytype_and_scheme/" + kind[0] + "-" + kind[1], answer, func(t *testing.T, r *repo, g *gateway) {
			k := newKey("more")
			r.grant(root, 3, append(newKeys("root", 2), k)...)
			r.root.Keys[k.id].Type, r.root.Keys[k.id].Scheme = kind[0], kind[1]
			r.publish(root)
			if kind[0] != "ed25519" {
				// The signature is a good one by Ed25519: what is said of the key decides that it does not count, and nothing more.
				g.wantRefused(ErrSignature, Versions{Root: 1})
				r.root.Roles[root].Threshold = 2
				r.serve(root)
				g.wantGood(Versions{2, 1, 1, 1})
				return
			}
			g.wantGood(Versions{2, 1, 1, 1})
			r.publish(root)
			was := hex.EncodeToString(ed25519.Sign(k.private, payload(t, r.served["3.root.json"])))
			r.edit("3.root.json", was, strings.Repeat("5a", ed25519.SignatureSize))
			g.wantRefused(ErrSignature, Versions{2, 1, 1, 1})
		}})
	}
	return out
}

// payload is what was signed.
func payload(t *testing.T, raw []byte) []byte {
	t.Helper()
	var m struct{ Signed json.RawMessage }
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return canonical(t, m.Signed)
}

// A generation is one version of a role: who has it, how many have to sign, who does.
type generation struct {
	keys      []int
	threshold int
	sigs      []int
}

func pick(from []key, of []int) (out []key) {
	for _, i := range of {
		out = append(out, from[i])
	}
	return out
}

func rotationCases() (out []conformance) {
	all := newKeys("rotated ", 10)
	for _, c := range rootRotations() {
		answer := asAsked
		if c.bad {
			answer += " (ErrSignature)"
		}
		out = append(out, conformance{"root_rotation/" + c.name, answer, func(t *testing.T, r *repo, g *gateway) {
			r.root.Version = 0
			for _, v := range c.versions {
				r.grant(root, v.threshold, pick(all, v.keys)...)
				r.signers[root] = pick(all, v.sigs)
				r.publish(root)
			}
			g.pinned = r.served["1.root.json"]
			last := int64(len(c.versions))
			if c.bad {
				g.wantRefused(ErrSignature, Versions{Root: last - 1})
				g.wantBytes(fmt.Sprintf("%d.root.json", last-1))
				return
			}
			g.wantGood(Versions{last, 1, 1, 1})
			g.wantBytes(fmt.Sprintf("%d.root.json", last))
		}})
	}
	for _, c := range otherRotations() {
		answer := asAsked
		if c.bad {
			answer += " (ErrSignature)"
		}
		out = append(out, conformance{"non_root_rotations/" + c.name, answer, func(t *testing.T, r *repo, g *gateway) {
			for i, role := range []string{timestamp, snapshot, targets} {
				was, signers := r.root.Roles[role], r.signers[role]
				r.grant(role, c.versions[0].threshold, pick(all, c.versions[0].keys)...)
				r.signers[role] = pick(all, c.versions[0].sigs)
				roles := []string{root, targets, snapshot, timestamp}
				r.publish(roles...)
				n := int64(i) + 2
				if !c.bad {
					g.wantGood(Versions{n, n, n, n})
					g.wantBytes(r.name(role, n))
					continue
				}
				if err := g.refresh(); !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), role) {
					t.Fatalf("got %v, want %v of %s", err, ErrSignature, role)
				}
				r.root.Roles[role], r.signers[role] = was, signers
			}
		}})
	}
	return out
}

func delegationCases() (out []conformance) {
	// delegate has the targets hand on to roles, as edges "from>to". What the roles would say is never asked for.
	delegate := func(r *repo, edges ...string) {
		d := &metadata.Delegations{Keys: map[string]*metadata.Key{}}
		for _, e := range edges {
			if to, ok := strings.CutPrefix(e, "targets>"); ok {
				k := newKey(to)
				d.Keys[k.id] = k.public()
				d.Roles = append(d.Roles, metadata.DelegatedRole{Name: to, KeyIDs: []string{k.id}, Threshold: 1, Paths: []string{"*"}})
			}
		}
		r.targets.Delegations = d
	}
	refused := func(name string, edges ...string) conformance {
		return conformance{name, delegated, func(t *testing.T, r *repo, g *gateway) {
			g.wantGood(Versions{1, 1, 1, 1})
			delegate(r, edges...)
			r.publish(targets, snapshot, timestamp)
			g.wantRefused(ErrDelegation, Versions{1, 2, 2, 1})
			g.wantAsked("2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json")
		}}
	}
	for _, role := range []string{"?", "#", "/delegatedrole", "../delegatedrole"} {
		out = append(out, refused("unusual_role_name/"+role, "targets>"+role))
	}
	graphs := [][2]string{
		{"basic-delegation", "targets>A"},
		{"single-level-delegations", "targets>A targets>B"},
		{"two-level-delegations", "targets>A targets>B B>C"},
		{"two-level-test-DFS-order-of-traversal", "targets>A targets>B A>C A>D"},
		{"three-level-delegation-test-DFS-order-of-traversal", "targets>A targets>B A>C C>D"},
		{"two-level-terminating-ignores-all-but-roles-descendants", "targets>A targets>B A>C A>D"},
		{"three-level-terminating-ignores-all-but-roles-descendants", "targets>A targets>B A>C C>D"},
		{"two-level-ignores-all-branches-not-matching-paths", "targets>A targets>B A>C"},
		{"three-level-ignores-all-branches-not-matching-paths", "targets>A targets>B A>C C>D"},
		{"cyclic-graph", "targets>A targets>B B>C C>D D>B"},
		{"two-roles-delegating-to-a-third", "targets>A targets>B B>C A>C"},
		{"two-roles-delegating-to-a-third-different-paths", "targets>A targets>B B>C A>C"},
	}
	for _, c := range graphs {
		out = append(out, refused("graph_traversal/"+c[0], strings.Fields(c[1])...))
	}
	return append(
		out,
		refused("targetfile_search", "targets>A", "targets>B", "B>C", "B>D"),
		refused("delegation_not_in_snapshot", "targets>A"),
		conformance{"cached_role_is_verified_against_current_delegator", delegated + ", and of the roles there are: what is cached is verified by the newest root", cachedRole(delegate)},
	)
}

// cachedRole has a role delegated, as the case asks for, and then the same done to the roles that there are: their keys are rotated and what is
// cached goes on to be named.
func cachedRole(delegate func(r *repo, edges ...string)) func(t *testing.T, r *repo, g *gateway) {
	return func(t *testing.T, r *repo, g *gateway) {
		delegate(r, "targets>A")
		r.publish(targets, snapshot, timestamp)
		g.wantRefused(ErrDelegation, Versions{1, 2, 2, 0})
		r.targets.Delegations = nil
		r.publish(targets, snapshot, timestamp)
		g.wantGood(Versions{1, 3, 3, 3})
		r.grant(targets, 1, newKey("another targets"))
		r.publish(root)
		g.wantRefused(ErrSignature, Versions{2, 3, 3, 0})
		r.publish(targets, snapshot, timestamp)
		g.wantGood(Versions{2, 4, 4, 4})
		r.grant(snapshot, 1, newKey("another snapshot"))
		r.publish(root)
		g.wantRefused(ErrSignature, Versions{3, 4, 0, 0})
	}
}

// wantBytes says that the cache has what is served by these names.
func (g *gateway) wantBytes(names ...string) {
	g.t.Helper()
	for _, name := range names {
		role := strings.TrimSuffix(name[strings.IndexFunc(name, func(c rune) bool { return c >= 'a' }):], ".json")
		got, err := os.ReadFile(g.file(role))
		if err != nil || !bytes.Equal(got, g.source.served[name]) {
			g.t.Errorf("got %s (%v) in the cache, want %s", got, err, g.source.served[name])
		}
	}
}

func (g *gateway) wantTree(want map[string][]byte) {
	g.t.Helper()
	got := g.tree()
	for name, b := range want {
		if !bytes.Equal(got[name], b) {
			g.t.Errorf("%s changed", name)
		}
	}
	for name := range got {
		if want[name] == nil {
			g.t.Errorf("%s is new", name)
		}
	}
}

// wantFile says what the last cycle found of a file, below a folder "" or "a/".
func (g *gateway) wantFile(name, body, folder string) {
	g.t.Helper()
	i := slices.IndexFunc(g.last.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		g.t.Fatalf("got %v, want a file %s", g.last.Files, name)
	}
	f, h := g.last.Files[i], digests([]byte(body))
	want := File{name, folder + h[0] + "." + strings.TrimPrefix(name, folder), int64(len(body)), h[0], h[1], []byte(`{"counter":1}`)}
	if f.Name != want.Name || f.Stored != want.Stored || f.Length != want.Length || f.SHA256 != want.SHA256 || f.SHA512 != want.SHA512 || string(f.Custom) != string(want.Custom) {
		g.t.Errorf("got %+v, want %+v", f, want)
	}
}

var _ Source = (*repo)(nil)

// TestSourceIsGivenTheContext has the caller end a cycle.
func TestSourceIsGivenTheContext(t *testing.T) {
	r := newRepo(t)
	g := newGateway(t, r)
	ctx, cancel := context.WithCancel(context.Background())
	r.fault = func(string) error { cancel(); return ctx.Err() }
	tr, err := Open(g.dir, g.pinned)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Refresh(ctx, r, day); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
