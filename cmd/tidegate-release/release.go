package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/release"
)

func duration(d *days) time.Duration { return time.Duration(*d) }

func (t tool) add() *cobra.Command {
	c := &cobra.Command{
		Use:   "add --dir REPO --counter N --version V --program PLATFORM=FILE...",
		Short: "Make the files of a release and draft the targets that name them",
		Long: `Make the files of a release: each program compressed, deltas from the releases before, a list of what is in it (CycloneDX 1.5), and draft the
targets that name them. They are signed by the targets keys (sign), then published.

Platforms are linux-amd64, linux-arm64, linux-armv7 and linux-armv6; a program must be built for its platform, static, at most 256 MiB, and
may not have been released before. The counter must be above those of all releases that there were: to go back, release the old code again.`,
		Example: `  tidegate-release add --dir repo --counter 8 --version v1.5.0 --percent 10 \
    --program linux-arm64=dist/linux-arm64/tidegate --program linux-armv6=dist/linux-armv6/tidegate`,
		Args: cobra.NoArgs,
	}
	dir := dirFlag(c)
	var n publish.Release
	f := c.Flags()
	f.Uint64Var(&n.Fields.Counter, "counter", 0, "counter of the release, above all there were (required)")
	f.StringVar(&n.Fields.Version, "version", "", "version for people, for instance v1.5.0 (required)")
	programs := f.StringArray("program", nil, "platform and program, for instance linux-arm64=dist/linux-arm64/tidegate (required)")
	f.StringArrayVar(&n.Fields.Hardware, "hardware", nil, "name of hardware that it is for, as /proc/device-tree/compatible has it; default: any")
	f.Uint64Var(&n.Fields.MinAgent, "min-agent", 0, "lowest counter of a running release that it may follow")
	f.Uint64Var(&n.Fields.MaxAgent, "max-agent", 0, "highest one; 0 = no bound")
	f.StringVar(&n.Fields.Tenant, "tenant", "", "whose gateways it is for; default: all")
	percent := f.String("percent", "100", "of how many gateways in a hundred, with at most two digits behind the point")
	f.BoolVar(&n.Plain, "plain", false, "publish each program as it is, too")
	f.IntVar(&n.Deltas, "deltas", 5, "from how many of the releases before to make deltas")
	f.IntVar(&n.Keep, "keep", 4, "how many releases gateways see, this one included")
	expires := expiresFlag(c, publish.TargetsLife)
	require(c, "counter", "version", "program")
	c.RunE = func(*cobra.Command, []string) error {
		var err error
		if n.Fields.Stage, err = release.ParseStage(*percent); err != nil {
			return fmt.Errorf("--percent: %w", err)
		}
		if n.Programs, err = readPrograms(*programs); err != nil {
			return fmt.Errorf("--program: %w", err)
		}
		n.Expires = t.now().Add(duration(expires))
		return t.change(*dir, func(r *publish.Repo) error {
			if err := r.Add(n); err != nil {
				return err
			}
			for _, p := range n.Programs {
				t.say("%s %s", p.Digest.SHA256, p.Platform.Name)
			}
			return t.drafts(r)
		})
	}
	return c
}

// readPrograms reads programs given as PLATFORM=FILE.
func readPrograms(given []string) ([]*program.Program, error) {
	var out []*program.Program
	for _, s := range given {
		name, path, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("got %q, want PLATFORM=FILE, for instance linux-arm64=dist/linux-arm64/tidegate", s)
		}
		p, err := program.Find(name)
		if err != nil {
			return nil, err
		}
		one, err := program.Read(path, p)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (t tool) stage() *cobra.Command {
	c := &cobra.Command{
		Use:   "stage --dir REPO --counter N --percent P|--halt",
		Short: "Draft targets in which a release is for more gateways, or for fewer, or halted",
		Long: `Draft targets in which a release has another stage. They must be signed by the targets keys. To stop a release at once use hold, which needs
the key of the online machine only.`,
		Example: "  tidegate-release stage --dir repo --counter 8 --percent 50",
		Args:    cobra.NoArgs,
	}
	dir := dirFlag(c)
	to := stageFlags(c)
	expires := expiresFlag(c, publish.TargetsLife)
	c.RunE = func(*cobra.Command, []string) error {
		stage, err := to.get()
		if err != nil {
			return err
		}
		return t.change(*dir, func(r *publish.Repo) error {
			if err := r.Stage(to.counter, stage, to.halt, t.now().Add(duration(expires))); err != nil {
				return err
			}
			return t.drafts(r)
		})
	}
	return c
}

// stageOf is a release and where it is to go.
type stageOf struct {
	counter uint64
	percent string
	halt    bool
}

func stageFlags(c *cobra.Command) *stageOf {
	s := &stageOf{}
	f := c.Flags()
	f.Uint64Var(&s.counter, "counter", 0, "counter of the release (required)")
	f.StringVar(&s.percent, "percent", "", "of how many gateways in a hundred, with at most two digits behind the point")
	f.BoolVar(&s.halt, "halt", false, "nobody starts it any more")
	require(c, "counter")
	c.MarkFlagsOneRequired("percent", "halt")
	c.MarkFlagsMutuallyExclusive("percent", "halt")
	return s
}

func (s *stageOf) get() (release.Stage, error) {
	if s.halt {
		return 0, nil
	}
	stage, err := release.ParseStage(s.percent)
	if err != nil {
		return 0, fmt.Errorf("--percent: %w", err)
	}
	return stage, nil
}

func (t tool) renew() *cobra.Command {
	c := &cobra.Command{
		Use:     "renew --dir REPO",
		Short:   "Draft the same targets for longer",
		Example: "  tidegate-release renew --dir repo",
		Args:    cobra.NoArgs,
	}
	dir := dirFlag(c)
	expires := expiresFlag(c, publish.TargetsLife)
	c.RunE = func(*cobra.Command, []string) error {
		return t.change(*dir, func(r *publish.Repo) error {
			if err := r.Renew(t.now().Add(duration(expires))); err != nil {
				return err
			}
			return t.drafts(r)
		})
	}
	return c
}
