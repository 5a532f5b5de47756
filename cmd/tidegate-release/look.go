package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/ota/publish"
)

func (t tool) status() *cobra.Command {
	c := &cobra.Command{
		Use:   "status --dir REPO [--within 14d] [--json]",
		Short: "Show what is published, who has signed what, and what expires when",
		Long: `Show what is published, who has signed what is drafted and how many signatures are missing, and what expires when.

Exit status: 1 when something that is published expires within --within. Snapshot and timestamp, which the online machine renews several times
a day, count when less than a day of them is left.`,
		Example: "  tidegate-release status --dir repo --within 14d",
		Args:    cobra.NoArgs,
	}
	dir := dirFlag(c)
	var within days
	c.Flags().Var(&within, "within", "end with status 1 when something expires within this time, in days or hours")
	asJSON := c.Flags().Bool("json", false, "as JSON")
	c.RunE = func(*cobra.Command, []string) error {
		r, err := publish.Open(*dir, t.now())
		if err != nil {
			return err
		}
		s, err := r.Status()
		if err != nil {
			return err
		}
		if *asJSON {
			err = json.NewEncoder(t.out).Encode(s)
		} else {
			t.print(s)
		}
		if err != nil {
			return err
		}
		due := s.Expiring(t.now(), duration(&within))
		for _, line := range due {
			t.note("expires within %v: %s", &within, line)
		}
		if len(due) > 0 {
			return exit(1)
		}
		return nil
	}
	return c
}

func (t tool) print(s publish.Status) {
	for _, x := range s.Roles {
		t.say("%-9s %4d  expires %s  signed by %d of: %s", x.Role, x.Version, x.Expires.Format(time.DateTime), x.Threshold, short(x.Keys))
	}
	for _, x := range s.Releases {
		held := ""
		if x.Held != nil {
			held = fmt.Sprintf(", held back at %v", *x.Held)
		}
		if x.Halt || x.Held != nil && *x.Held == 0 {
			held += ", halted"
		}
		t.say("release %d %s  for %v%s  %s: %d files, %d bytes", x.Counter, x.Version, x.Stage, held, strings.Join(x.Platforms, " "), x.Files, x.Bytes)
	}
	for _, x := range s.Drafts {
		t.say("draft of %s %d, expires %s: %s", x.Role, x.Version, x.Expires.Format(time.DateTime), missing(x))
	}
}

// missing says what a draft waits for.
func missing(x publish.DraftStatus) string {
	out := "signed by " + short(x.Signed)
	if len(x.Signed) == 0 {
		out = "not signed"
	}
	if x.Missing == 0 && x.Before == 0 {
		return out + "; ready to publish"
	}
	if x.Missing > 0 {
		out += fmt.Sprintf("; %d missing", x.Missing)
	}
	if x.Before > 0 {
		out += fmt.Sprintf("; %d missing of those that the root before asks for", x.Before)
	}
	return out + ", of " + short(x.Open)
}

// short returns ids as people compare them.
func short(ids []string) string {
	var out []string
	for _, id := range ids {
		out = append(out, id[:min(12, len(id))])
	}
	return strings.Join(out, " ")
}

// drafts prints how the drafts stand.
func (t tool) drafts(r *publish.Repo) error {
	s, err := r.Status()
	for _, x := range s.Drafts {
		t.note("draft of %s %d: %s", x.Role, x.Version, missing(x))
	}
	return err
}

// published prints what gateways see from now on.
func (t tool) published(r *publish.Repo) error {
	s, err := r.Status()
	for _, x := range s.Roles {
		t.note("%s %d, expires %s", x.Role, x.Version, x.Expires.Format(time.DateTime))
	}
	return err
}

func (t tool) verify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify --dir REPO [--root ROOT.json]",
		Short: "Check all that is published as a gateway would, and each byte of it",
		Long: `Check all that is published: each signature, length and hash, each file of each release, that deltas make the programs that are signed, that
nothing has expired and that nothing else is there. --root is the root.json that gateways begin with; give it where the folder comes from others.`,
		Example: "  tidegate-release verify --dir repo --root root.json",
		Args:    cobra.NoArgs,
	}
	dir := dirFlag(c)
	pinned := c.Flags().String("root", "", "root.json that gateways begin with; default: the repository's first")
	c.RunE = func(*cobra.Command, []string) error {
		var root []byte
		if *pinned != "" {
			var err error
			if root, err = os.ReadFile(*pinned); err != nil {
				return fmt.Errorf("read root: %w", err)
			}
		}
		r, err := publish.Open(*dir, t.now())
		if err != nil {
			return err
		}
		if err := r.Verify(root); err != nil {
			return err
		}
		s, err := r.Status()
		if err != nil {
			return err
		}
		files := 0
		for _, x := range s.Releases {
			files += x.Files
		}
		t.say("good: %d releases, %d files", len(s.Releases), files)
		return nil
	}
	return c
}
