package scan

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// bootFiles are where a Raspberry Pi's firmware is told what to switch on: since Raspberry Pi OS 12, and before.
func bootFiles() []string { return []string{"boot/firmware/", "boot/"} }

// hints says what is switched off or out of reach, as far as kinds are concerned.
func (m *Machine) hints(r *Report, kinds []string) (out []Hint) {
	files := m.Host.Files()
	if !strings.HasPrefix(text(files, "proc/device-tree/model"), "Raspberry Pi") {
		return m.absent(r, kinds)
	}
	boot, config := bootFiles()[0], ""
	for _, dir := range bootFiles() {
		if b, err := fs.ReadFile(files, dir+"config.txt"); err == nil {
			boot, config = dir, string(b)
			break
		}
	}
	reboot := " into /" + boot + "config.txt and reboot"
	if slices.Contains(kinds, "i2c") && len(r.I2C) == 0 {
		out = append(out, Hint{"I2C on GPIO 2 and 3 is switched off", "sudo raspi-config nonint do_i2c 0; or put dtparam=i2c_arm=on" + reboot})
	}
	if slices.Contains(kinds, "onewire") && !isOn(config, `dtoverlay=w1-gpio.*`) {
		out = append(out, Hint{"1-Wire is switched off", "put dtoverlay=w1-gpio" + reboot + "; the bus is GPIO 4, with 4.7 kOhm to 3.3 V"})
	}
	if slices.Contains(kinds, "serial") {
		out = append(out, piSerial(files, boot, config, reboot)...)
	}
	return out
}

// piSerial says what keeps the header's serial port from use.
func piSerial(files fs.FS, boot, config, reboot string) (out []Hint) {
	if !isOn(config, `enable_uart=1`) && !isOn(config, `dtparam=uart0(=on)?`) {
		out = append(out, Hint{"the serial port on GPIO 14 and 15 is switched off", "sudo raspi-config nonint do_serial_hw 0; or put enable_uart=1" + reboot})
	}
	if console := regexp.MustCompile(`console=(serial0|ttyAMA\d+|ttyS\d+)`).FindString(text(files, boot+"cmdline.txt")); console != "" {
		out = append(out, Hint{
			"the kernel's console is on the header's serial port (" + console + ")",
			"sudo raspi-config nonint do_serial_cons 1, or take it out of /" + boot + "cmdline.txt, and reboot",
		})
	}
	return out
}

// isOn reports whether config.txt has a line of that form, not commented out.
func isOn(config, form string) bool {
	return regexp.MustCompile(`(?m)^\s*` + form + `\s*$`).MatchString(config)
}

// absent says, on other machines, which buses there are none of.
func (m *Machine) absent(r *Report, kinds []string) (out []Hint) {
	none := func(kind string, n int, h Hint) {
		if slices.Contains(kinds, kind) && n == 0 {
			out = append(out, h)
		}
	}
	none("serial", len(r.Serial), Hint{"this machine shows no serial port", "plug the adapter in; dmesg says what became of it"})
	none("i2c", len(r.I2C), Hint{"this machine shows no I2C bus", "sudo modprobe i2c-dev; on other boards than a Raspberry Pi see their manual for the overlay"})
	none("gpio", len(r.GPIO), Hint{"this machine shows no GPIO chip", "see whether /dev/gpiochip0 is there and this user is in its group"})
	return out
}
