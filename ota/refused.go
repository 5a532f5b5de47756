package ota

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/ota/durable"
)

// maxRefused is how many programs that are none are remembered, so that they are not fetched at each look.
const maxRefused = 16

// refused returns the SHA-256 of programs that were signed and are none for this machine, the newest last. They are remembered as a convenience:
// what cannot be read was none.
func (u *Updater) refused() []string {
	b, err := durable.ReadFile(filepath.Join(u.o.Dir, "refused"), maxRefused*65)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// refuse remembers a program.
func (u *Updater) refuse(sum string) error {
	list := append(slices.DeleteFunc(u.refused(), func(s string) bool { return s == sum }), sum)
	list = list[max(0, len(list)-maxRefused):]
	return durable.WriteFile(filepath.Join(u.o.Dir, "refused"), []byte(strings.Join(list, "\n")+"\n"), 0o600)
}

// isBad reports whether a program has failed here, or was found to be none.
func (u *Updater) isBad(sum string) bool {
	return u.slots.Failed(sum) || slices.Contains(u.refused(), sum)
}
