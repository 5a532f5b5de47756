package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
)

// ErrRefused is wrapped by the error of Load and Parse when the configuration cannot be used.
var ErrRefused = errors.New("configuration refused")

// Load reads the configuration in the file at path for a gateway that has these drivers. It looks at the file and at the files it
// names, and touches no hardware and no network. It returns all that is wrong, in the order of the file, warnings included. The error
// wraps ErrRefused and is nil when there are at most warnings; else the Config is nil.
//
// In the Config all defaults are filled in: Gateway.ID, Device.Every, Uplinks (with uplink moved there).
func Load(path string, list []drivers.Driver) (*Config, []Fault, error) {
	return load(path, thisMachine(list))
}

// Parse is Load for a text that is not in a file; name stands for the file in faults.
func Parse(name string, text []byte, list []drivers.Driver) (*Config, []Fault, error) {
	return parse(name, text, thisMachine(list))
}

// machine is what a configuration is checked against besides itself.
type machine struct {
	drivers  []drivers.Driver
	hostname string
	now      time.Time
}

func thisMachine(list []drivers.Driver) machine {
	host, err := os.Hostname()
	if err != nil {
		host = "" // which is refused as a name, if a name is needed at all
	}
	return machine{drivers: list, hostname: host, now: time.Now()}
}

func load(path string, m machine) (*Config, []Fault, error) {
	text, refusal := strict.ReadFile(path, strict.Public, strict.MaxBytes)
	if refusal != nil {
		doc := strict.New(path)
		doc.Refuse("", refusal)
		return finish(nil, doc)
	}
	return parse(path, text, m)
}

func parse(name string, text []byte, m machine) (*Config, []Fault, error) {
	c := newChecker(name, m)
	c.Parse(text)
	if c.Decode(c.cfg, c.also) {
		c.check()
	}
	return finish(c.cfg, c.Doc)
}

func finish(cfg *Config, doc *strict.Doc) (*Config, []Fault, error) {
	faults := doc.Faults()
	bad := slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool { return f.Warning })
	switch len(bad) {
	case 0:
		return cfg, faults, nil
	case 1:
		return nil, faults, fmt.Errorf("%w: %s", ErrRefused, bad[0])
	}
	return nil, faults, fmt.Errorf("%w: %d faults, the first: %s", ErrRefused, len(bad), bad[0])
}

// checker checks what the form of the file does not show.
type checker struct {
	*strict.Doc
	machine
	cfg      *Config
	channels map[string][]drivers.Channel // by device; nil = not known
	partly   map[string]bool              // devices that may have more channels than channels has
	labels   map[string]bool              // names of labels that rules give
}

func newChecker(name string, m machine) *checker {
	return &checker{
		Doc: strict.New(name), machine: m, cfg: Default(), channels: map[string][]drivers.Channel{}, partly: map[string]bool{}, labels: map[string]bool{},
	}
}

// also sends the keys of a device that are not every device's to the driver's Config; see strict.Also.
func (c *checker) also(into any, path string, peek func(key string) string) (other any, open bool) {
	dev, ok := into.(*Device)
	if !ok {
		return nil, false
	}
	name := peek("driver")
	i := slices.IndexFunc(c.drivers, func(d drivers.Driver) bool { return d.Name == name })
	if i < 0 {
		return nil, true
	}
	dev.Settings = c.drivers[i].New()
	return dev.Settings, false
}

// check looks at the whole; what strict has already faulted is not faulted again.
func (c *checker) check() {
	c.checkFrame()
	c.checkDevices()
	c.checkUplinks() // before the rules, which name them
	c.checkRules()
	c.checkInterlocks()
	c.checkUpdate()
	c.checkID()
	if c.Sound() {
		c.checkUse()
	}
}

// name notes what is wrong with the name at path, and returns whether nothing is.
func (c *checker) name(path, name string, site strict.Site, args ...any) bool {
	if name == "" {
		return false // the key is missing, or empty: strict has said so
	}
	if err := tidegate.CheckName(name); err != nil {
		c.Add(path, site, strict.Show(name), "use letters, digits, dot, dash and underscore", append(args, err)...)
		return false
	}
	return true
}
