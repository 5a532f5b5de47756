// Package nodes says which device nodes a configuration needs, as a drop-in of the service that allows these and no other
// (systemd.resource-control(5), DeviceAllow=).
//
// What may be pulled out and plugged in again under another number (USB serial adapters) is allowed by its class: systemd looks at a node when
// the service starts, and would not know the new one. So is what only the running machine can find (a GPIO line by its name, the first
// I2C bus). All else is one node. I2C buses are told by number, so that they need not be there when the service starts.
package nodes

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/drivers"
)

// DropIn is where the service's drop-in belongs.
const DropIn = "/etc/systemd/system/tidegate.service.d/devices.conf"

// i2cMajor is the major number of I2C buses' nodes; the minor one is the bus's (Linux, Documentation/admin-guide/devices.txt).
const i2cMajor = 89

// Text returns the drop-in for cfg, where resolve follows the symbolic links of a path, as filepath.EvalSymlinks does. It is the same bytes
// for the same configuration on the same machine.
func Text(cfg *config.Config, resolve func(path string) (string, error)) string {
	users := map[string][]string{} // by what is allowed
	var order []string
	for i := range cfg.Devices {
		d := &cfg.Devices[i]
		for _, node := range used(d.Settings) {
			for _, allow := range allowed(node, resolve) {
				who := d.Name + ": " + node
				if len(users[allow]) == 0 {
					order = append(order, allow)
				}
				if !slices.Contains(users[allow], who) {
					users[allow] = append(users[allow], who)
				}
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by \"tidegate devices --write\" from the configuration: the service may use these devices and no other.\n"+
		"# It is written again at each installation: own lines belong into a file of their own beside it (systemctl edit tidegate).\n"+
		"[Service]\nDeviceAllow=\n")
	for _, allow := range order {
		for _, who := range users[allow] {
			fmt.Fprintf(&b, "# %s\n", printable(who))
		}
		fmt.Fprintf(&b, "DeviceAllow=%s rw\n", allow)
	}
	return b.String()
}

// used returns the nodes that a device so configured is reached by, as it names them; /dev/x-* is any one.
func used(settings any) (list []string) {
	if u, ok := settings.(drivers.PortUser); ok {
		for _, p := range u.Ports() {
			if !strings.HasPrefix(p.Port, "tcp://") {
				list = append(list, filepath.Clean(p.Port))
			}
		}
	}
	if u, ok := settings.(drivers.Claimer); ok {
		for _, c := range u.Claims() {
			if c.Node != "" {
				list = append(list, c.Node)
			}
		}
	}
	return list
}

// allowed returns what DeviceAllow= has for node: nothing where no rule can allow it, as it does not lie below /dev.
func allowed(node string, resolve func(string) (string, error)) []string {
	if class, ok := strings.CutPrefix(node, "/dev/i2c-"); ok && class != "*" {
		return []string{fmt.Sprintf("/dev/char/%d:%s", i2cMajor, class)}
	}
	switch node {
	case "/dev/i2c-*":
		return []string{"char-i2c"}
	case "/dev/gpiochip*":
		return []string{"char-gpiochip"}
	}
	real, err := resolve(node)
	switch {
	case err != nil:
		real = node // not there yet
	case !strings.HasPrefix(node, "/dev/"):
		node = real // a link of the site's own
	}
	stem := strings.TrimRight(filepath.Base(real), "0123456789")
	switch {
	case stem == "ttyUSB" || stem == "ttyACM":
		return []string{"char-" + stem}
	case err != nil && strings.HasPrefix(node, "/dev/serial/"): // by-id, by-path: links to adapters
		return []string{"char-ttyUSB", "char-ttyACM"}
	case !strings.HasPrefix(node, "/dev/") || strings.ContainsAny(node, " \t\n\"'\\%"):
		return nil
	case err != nil && strings.HasPrefix(stem, "tty") && stem != "tty" && stem != "ttyS" && stem != "ttyAMA":
		// Not the board's own port: its kernel module may come later than we do, then the class is known before the node is there.
		return []string{node, "char-" + stem}
	}
	return []string{node}
}

// printable returns text as one line of a comment.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.TrimRight(text, `\`))
}
