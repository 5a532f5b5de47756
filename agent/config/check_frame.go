package config

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/keys"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/drivers"
)

// checkFrame checks what is neither device, rule nor uplink.
func (c *checker) checkFrame() {
	c.name("gateway.id", c.cfg.Gateway.ID, badGateway)
	c.checkLabels("gateway.labels", c.cfg.Gateway.Labels)
	c.upwards("state_dir", c.cfg.StateDir)
	c.checkKeys(&c.cfg.Buffer)
	c.checkClasses()
	if at := c.cfg.Listen; at != "" {
		const hint = "write host:port, for instance 127.0.0.1:8480"
		if _, port, err := net.SplitHostPort(at); err != nil {
			c.Add("listen", badListen, strict.Show(at), hint, strings.TrimPrefix(err.Error(), "address "+at+": "))
		} else if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			c.Add("listen", badListenPort, strict.Show(at), hint)
		}
	}
}

// checkKeys checks what the buffer is sealed with. A key that is missing is no reason not to read devices: the gateway waits for it.
func (c *checker) checkKeys(b *Buffer) {
	paths, all := []string{"buffer.key"}, []string{b.Key}
	for i, source := range b.OldKeys {
		paths, all = append(paths, "buffer.old_keys["+strconv.Itoa(i)+"]"), append(all, source)
	}
	for i, source := range all {
		at := paths[i]
		if source == "" {
			continue
		}
		if _, err := seal.ParseKey([]byte(source)); err == nil {
			c.Add(at, secretKey, "", "write it into a file that only the gateway can read, name that, and make another key: this one is known now")
			continue
		}
		if slices.Index(all, source) < i {
			c.Add(at, sourceTwice, strict.Show(source), "name each once")
		}
		path, err := keys.Path(source)
		switch {
		case errors.Is(err, keys.ErrElsewhere):
		case err != nil:
			c.Add(at, badCredential, strict.Show(source), "write credential: and the name that LoadCredential= gives it", err)
		case !c.upwards(at, path):
			if _, refusal := keys.Read(path); refusal != nil {
				c.WarnRefused(at, refusal)
			}
		}
	}
}

// upwards notes that the path at key leads upwards, which hides where it leads; it reports whether it does.
func (c *checker) upwards(key, path string) bool {
	if !slices.Contains(strings.Split(path, "/"), "..") {
		return false
	}
	c.Add(key, pathUp, strict.Show(path), "write the path without it")
	return true
}

// checkID gives the gateway a name where the file does not: the certificate's, else the machine's.
func (c *checker) checkID() {
	if c.cfg.Gateway.ID != "" || c.Faulty("gateway.id") || !c.Sound() {
		return
	}
	source, name := "machine's name", c.hostname
	for _, u := range c.cfg.Uplinks {
		if u.Cert == "" {
			continue
		}
		text, refusal := strict.ReadFile(u.Cert, strict.Public, strict.MaxBytes)
		if block, _ := pem.Decode(text); refusal == nil && block != nil {
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil && cert.Subject.CommonName != "" {
				source, name = "certificate's common name", cert.Subject.CommonName
				break
			}
		}
	}
	if err := tidegate.CheckName(name); err != nil {
		c.Add("", badID, strict.Show(name), "set gateway.id", source, err)
		return
	}
	c.cfg.Gateway.ID = name
}

// checkUse warns of a configuration that does not do much.
func (c *checker) checkUse() {
	if len(c.cfg.Devices) == 0 {
		c.Warn("devices", noDevices, "", "the sample file shows how a device is written")
	}
	if len(c.cfg.Uplinks) == 0 {
		c.Warn("uplink", noUplink, "", "write uplink: {url: mqtt://host:1883}")
	}
}

// checkDevices checks the devices, and gathers their channels for the rules.
func (c *checker) checkDevices() {
	names := map[string]int{}
	for i := range c.cfg.Devices {
		dev, path := &c.cfg.Devices[i], "devices["+strconv.Itoa(i)+"]"
		if c.name(path+".name", dev.Name, badDevice) {
			if first, twice := names[dev.Name]; twice {
				c.Add(path+".name", deviceTwice, dev.Name, "give each device a name of its own", first)
			} else {
				names[dev.Name] = i
			}
		}
		c.checkDevice(path, dev)
	}
	c.checkPorts()
	c.checkClaims()
}

// checkPorts finds devices on a port that one of them needs for itself, or with other settings.
func (c *checker) checkPorts() {
	type use struct {
		drivers.PortUse
		device int
	}
	first := map[string]use{}
	for i := range c.cfg.Devices {
		dev, path := &c.cfg.Devices[i], "devices["+strconv.Itoa(i)+"]"
		user, ok := dev.Settings.(drivers.PortUser)
		if !ok || c.Faulty(path) {
			continue
		}
		for _, p := range user.Ports() {
			before, ok := first[p.Port]
			if !ok {
				first[p.Port] = use{p, i}
				continue
			}
			owner := dev.Driver
			if !p.IsSole {
				owner = c.cfg.Devices[before.device].Driver
			}
			switch {
			case p.IsSole || before.IsSole:
				c.Add(path, portTaken, "", "give each device a port of its own", p.Port, before.device, owner)
			case p.Settings != before.Settings && p.Settings != "" && before.Settings != "":
				c.Add(path, portSettings, p.Settings, "set all that hangs on one line to one speed", p.Port, before.device, before.Settings)
			}
		}
	}
}

// checkClaims finds devices that take a part or a line that another one has taken.
func (c *checker) checkClaims() {
	type claim struct {
		drivers.Claim
		device int
	}
	first := map[string]claim{}
	for i := range c.cfg.Devices {
		path := "devices[" + strconv.Itoa(i) + "]"
		user, ok := c.cfg.Devices[i].Settings.(drivers.Claimer)
		if !ok || c.Faulty(path) {
			continue
		}
		for _, its := range user.Claims() {
			before, ok := first[its.What]
			switch {
			case !ok:
				first[its.What] = claim{its, i}
			case before.For == "" || before.For != its.For:
				owner := "devices[" + strconv.Itoa(before.device) + "]"
				c.Add(path+"."+its.Field, claimed, "", its.Hint, its.What, owner, c.Place(owner+"."+before.Field))
			}
		}
	}
}

// checkDevice checks what the driver has to say of dev.
func (c *checker) checkDevice(path string, dev *Device) {
	c.channels[dev.Name] = nil
	if dev.Settings == nil {
		if dev.Driver != "" {
			var known []string
			for _, d := range c.drivers {
				known = append(known, d.Name)
			}
			c.Add(path+".driver", noDriver, strict.Show(dev.Driver), strict.DidYouMean(dev.Driver, known, "drivers are "+strings.Join(known, ", ")))
		}
		return
	}
	driver := c.drivers[slices.IndexFunc(c.drivers, func(d drivers.Driver) bool { return d.Name == dev.Driver })]
	usual := driver.Every
	if paced, ok := dev.Settings.(drivers.Paced); ok {
		usual = paced.Every()
	}
	if dev.Every == 0 {
		dev.Every = usual
	} else if usual == 0 {
		dev.Every = 0
		c.Warn(path+".every", everIgnored, "", "leave it out", driver.Name)
	}
	decoded := !c.Faulty(path)
	for _, f := range dev.Settings.Validate() {
		at := path
		if f.Field != "" {
			at += "." + f.Field
		}
		if !c.Faulty(at) {
			c.Add(at, driverFault, f.Got, f.Hint, f.Problem)
		}
	}
	list := slices.Clone(driver.Channels)
	if !c.Faulty(path) {
		list = append(list, channelsOf(dev.Settings)...)
		c.channels[dev.Name], dev.Channels = list, list
		c.checkChannels(path, list)
		return
	}
	// Rules that name what is well are judged all the same, but not by kinds that a fault may have changed.
	c.partly[dev.Name] = true
	more := channelsDespite(dev.Settings)
	for i := range more {
		if !decoded {
			more[i].Kind = tidegate.KindNone
		}
	}
	c.channels[dev.Name] = append(list, more...)
}

// channelsOf returns the channels that depend on the settings.
func channelsOf(s drivers.Config) []drivers.Channel {
	if ch, ok := s.(drivers.Channeler); ok {
		return ch.Channels()
	}
	return nil
}

// channelsDespite is channelsOf for settings with faults: as many as the driver can tell. A driver that cannot at all, tells none.
func channelsDespite(s drivers.Config) (list []drivers.Channel) {
	defer func() {
		if recover() != nil {
			list = nil
		}
	}()
	return slices.Clone(channelsOf(s))
}

// checkChannels checks what a device would report.
func (c *checker) checkChannels(path string, list []drivers.Channel) {
	seen, units := map[string]bool{}, map[string]bool{}
	for _, ch := range list {
		if err := tidegate.CheckName(ch.Name); err != nil {
			c.Add(path, badChannel, strict.Show(ch.Name), "use letters, digits, dot, dash and underscore", err)
		}
		if seen[ch.Name] {
			c.Add(path, channelTwice, "", "give each channel of a device a name of its own", ch.Name)
		}
		seen[ch.Name] = true
		if _, ok := tidegate.UnitMeaning(ch.Unit); !ok && ch.Unit != "" && !units[ch.Unit] {
			units[ch.Unit] = true
			c.Warn(path, unitUnknown, strict.Show(ch.Unit), UnitHint(ch.Unit, "it is sent as it stands"), ch.Name)
		}
	}
}
