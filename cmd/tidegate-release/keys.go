package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
)

func (t tool) keys() *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Make keys and show what they are", Args: cobra.ArbitraryArgs, RunE: group}
	c.AddCommand(t.keysNew(), t.keysShow())
	return c
}

func (t tool) keysNew() *cobra.Command {
	c := &cobra.Command{
		Use:   "new --role root|targets|snapshot|timestamp --out FILE",
		Short: "Make a key: FILE for who signs, FILE.pub for everybody",
		Long: `Make an Ed25519 key. FILE is encrypted with a passphrase (age, scrypt) and readable by its owner only; FILE.pub is its public half.

A passphrase is asked for twice. Keys of root and targets are always encrypted. Those of snapshot and timestamp may be --plain, as a machine
uses them that nobody sits at. Keep two copies of a root key in two places: FILE, and its passphrase elsewhere.`,
		Example: `  tidegate-release keys new --role root --out /media/stick/alice-root.key
  tidegate-release keys new --role timestamp --plain --out /etc/tidegate-release/timestamp.key`,
		Args: cobra.NoArgs,
	}
	role := c.Flags().String("role", "", "what it signs: root, targets, snapshot or timestamp (required)")
	out := c.Flags().String("out", "", "file to make (required)")
	plain := c.Flags().Bool("plain", false, "do not encrypt: snapshot and timestamp only")
	phrase := passphraseFlag(c)
	require(c, "role", "out")
	c.RunE = func(*cobra.Command, []string) error {
		k, err := keyfile.New(keyfile.Role(*role))
		if err != nil {
			return err
		}
		var with []byte
		if !*plain {
			if with, err = phrase.choose(*out); err != nil {
				return err
			}
		}
		if err := k.Write(*out, with, t.work); err != nil {
			return err
		}
		t.say("%s key %s", k.Role, k.ID)
		t.note("written: %s for who signs, %s.pub for everybody", *out, *out)
		return nil
	}
	return c
}

func (t tool) keysShow() *cobra.Command {
	c := &cobra.Command{
		Use:     "show FILE...",
		Short:   "Show role and id of keys, by their public halves",
		Example: "  tidegate-release keys show *.pub",
		Args:    cobra.MinimumNArgs(1),
	}
	c.RunE = func(_ *cobra.Command, files []string) error {
		for _, path := range files {
			if _, err := os.Stat(path + ".pub"); err == nil && !strings.HasSuffix(path, ".pub") {
				path += ".pub"
			}
			p, err := keyfile.ReadPublic(path)
			if err != nil {
				return err
			}
			t.say("%-9s %s %s", p.Role, p.ID, path)
		}
		return nil
	}
	return c
}

// publicKeys reads public halves, which must be of a role; "" = any.
func publicKeys(role keyfile.Role, paths []string) ([]keyfile.Public, error) {
	var out []keyfile.Public
	var wrong []error
	for _, path := range paths {
		p, err := keyfile.ReadPublic(path)
		if err == nil && role != "" && p.Role != role {
			err = errors.New(path + ": it is a " + string(p.Role) + " key, want one of " + string(role))
		}
		out, wrong = append(out, p), append(wrong, err)
	}
	return out, errors.Join(wrong...)
}
