package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/listed"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
)

func (t tool) init() *cobra.Command {
	c := &cobra.Command{
		Use:   "init --dir REPO --root-key FILE.pub... --targets-key FILE.pub... --snapshot-key FILE.pub --timestamp-key FILE.pub",
		Short: "Make a repository and draft its first root",
		Long: `Make a repository and draft its first root. The draft is signed by the root keys (sign), and published with the first release.

Three root keys and three targets keys are the least: two of three sign, so that one stolen key is not enough and one may be lost.`,
		Example: `  tidegate-release init --dir repo --root-key alice-root.key.pub --root-key bob-root.key.pub --root-key carol-root.key.pub \
    --targets-key alice-targets.key.pub --targets-key bob-targets.key.pub --targets-key carol-targets.key.pub \
    --snapshot-key snapshot.key.pub --timestamp-key timestamp.key.pub`,
		Args: cobra.NoArgs,
	}
	dir := dirFlag(c)
	files := map[keyfile.Role]*[]string{}
	for _, role := range keyfile.Roles() {
		files[role] = c.Flags().StringArray(string(role)+"-key", nil, "public half of a "+string(role)+" key (required)")
		require(c, string(role)+"-key")
	}
	threshold := c.Flags().Int("threshold", 2, "how many of root and of targets must sign")
	expires := expiresFlag(c, publish.RootLife)
	c.RunE = func(*cobra.Command, []string) error {
		k := publish.Keys{Threshold: *threshold}
		for _, role := range keyfile.Roles() {
			more, err := publicKeys(role, *files[role])
			if err != nil {
				return err
			}
			k.Public = append(k.Public, more...)
		}
		if err := publish.Init(*dir, k, t.now(), t.now().Add(duration(expires))); err != nil {
			return err
		}
		t.say("%s/draft/root.json", *dir)
		t.note("drafted: root 1; next: `sign --dir %s --role root --key FILE`, %d times", *dir, *threshold)
		return nil
	}
	return c
}

func (t tool) root() *cobra.Command {
	c := &cobra.Command{Use: "root", Short: "Change the keys of a repository", Args: cobra.ArbitraryArgs, RunE: group}
	n := &cobra.Command{
		Use:   "new --dir REPO [--remove KEYID...] [--add FILE.pub...]",
		Short: "Draft the next root: other keys, or the same for longer",
		Long: `Draft the next root, without some keys, with others, or the same for longer. It must be signed by as many keys of the root before as that asks
for, and by as many of its own; a key that is in both counts for both. A draft that there is already is changed, and loses its signatures.`,
		Example: `  tidegate-release root new --dir repo --remove 1f0c3a52 --add dave-root.key.pub
  tidegate-release root new --dir repo`,
		Args: cobra.NoArgs,
	}
	dir := dirFlag(n)
	remove := n.Flags().StringArray("remove", nil, "id of a key that may not sign any more, or how it begins; `status` lists them")
	add := n.Flags().StringArray("add", nil, "public half of a key that may sign; its role is the file's")
	expires := expiresFlag(n, publish.RootLife)
	n.RunE = func(*cobra.Command, []string) error {
		public, err := publicKeys("", *add)
		if err != nil {
			return err
		}
		err = t.change(*dir, func(r *publish.Repo) error { return r.NewRoot(*remove, public, t.now().Add(duration(expires))) })
		if err == nil {
			t.say("%s/draft/root.json", *dir)
		}
		return err
	}
	c.AddCommand(n)
	return c
}

func (t tool) sign() *cobra.Command {
	c := &cobra.Command{
		Use:   "sign --dir REPO --role root|targets --key FILE, or sign --in DRAFT --key FILE --out SIGNATURE",
		Short: "Sign a draft of root or targets",
		Long: `Sign a draft. What is signed is shown first: compare it with what you know, programs by the SHA-256 of your own build.

With --dir the signature is added to the draft of a repository. With --in a copy of the draft is signed on another machine, and the signature,
a small file of text, goes back to the repository by attach.`,
		Example: `  tidegate-release sign --dir repo --role root --key alice-root.key
  tidegate-release sign --in /media/stick/targets.json --key bob-targets.key --out /media/stick/bob.sig`,
		Args: cobra.NoArgs,
	}
	dir := c.Flags().String("dir", "", "folder of the repository")
	role := c.Flags().String("role", "", "what is signed: root or targets")
	in := c.Flags().String("in", "", "draft to sign, instead of --dir and --role")
	out := c.Flags().String("out", "", "file to write the signature to, with --in")
	key := c.Flags().String("key", "", "file of the key (required)")
	phrase := passphraseFlag(c)
	require(c, "key")
	c.MarkFlagsRequiredTogether("dir", "role")
	c.MarkFlagsRequiredTogether("in", "out")
	c.MarkFlagsMutuallyExclusive("dir", "in")
	c.MarkFlagsOneRequired("dir", "in")
	c.RunE = func(*cobra.Command, []string) error {
		if *in != "" {
			return t.signDetached(*in, *out, *key, phrase)
		}
		return t.change(*dir, func(r *publish.Repo) error {
			draft, err := r.Draft(keyfile.Role(*role))
			if err != nil {
				return err
			}
			k, err := t.showAndRead(draft, keyfile.Role(*role), *key, phrase)
			if err != nil {
				return err
			}
			if err := r.Sign(k); err != nil {
				return err
			}
			return t.drafts(r)
		})
	}
	return c
}

// showAndRead shows what is to be signed and reads the key that will.
func (t tool) showAndRead(draft []byte, role keyfile.Role, path string, phrase *passphrase) (*keyfile.Private, error) {
	lines, err := listed.Summary(role, draft)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		t.note("%s", line)
	}
	k, err := phrase.key(path)
	if err == nil && k.Role != role {
		err = fmt.Errorf("%w: %s is a %s key, want one of %s", meta.ErrKey, path, k.Role, role)
	}
	return k, err
}

func (t tool) signDetached(in, out, key string, phrase *passphrase) error {
	draft, err := os.ReadFile(in)
	if err != nil {
		return fmt.Errorf("read draft: %w", err)
	}
	role := keyfile.Targets
	if _, err := listed.Summary(role, draft); err != nil {
		role = keyfile.Root
	}
	k, err := t.showAndRead(draft, role, key, phrase)
	if err != nil {
		return err
	}
	s, err := meta.SignDetached(draft, k)
	if err != nil {
		return err
	}
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(out, append(body, '\n'), 0o644); err != nil {
		return err
	}
	t.say("%s", out)
	return nil
}

func (t tool) attach() *cobra.Command {
	c := &cobra.Command{
		Use:     "attach --dir REPO SIGNATURE...",
		Short:   "Add signatures that were made elsewhere to the drafts that they are of",
		Example: "  tidegate-release attach --dir repo /media/stick/bob.sig",
		Args:    cobra.MinimumNArgs(1),
	}
	dir := dirFlag(c)
	c.RunE = func(_ *cobra.Command, files []string) error {
		return t.change(*dir, func(r *publish.Repo) error {
			for _, path := range files {
				body, err := os.ReadFile(path)
				if err != nil {
					return fmt.Errorf("read signature: %w", err)
				}
				var s meta.Signature
				if err := json.Unmarshal(body, &s); err != nil {
					return fmt.Errorf("read signature %s: %w; want a file that `sign --in` wrote", path, err)
				}
				if err := r.Attach(s); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
			}
			return t.drafts(r)
		})
	}
	return c
}

func (t tool) discard() *cobra.Command {
	c := &cobra.Command{
		Use:     "discard --dir REPO --role root|targets",
		Short:   "Throw a draft away, with the files of releases that are in it only",
		Example: "  tidegate-release discard --dir repo --role targets",
		Args:    cobra.NoArgs,
	}
	dir := dirFlag(c)
	role := c.Flags().String("role", "", "whose draft: root or targets (required)")
	require(c, "role")
	c.RunE = func(*cobra.Command, []string) error {
		return t.change(*dir, func(r *publish.Repo) error { return r.Discard(keyfile.Role(*role)) })
	}
	return c
}
