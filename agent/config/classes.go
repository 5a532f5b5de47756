package config

import (
	"strconv"
	"time"
)

// Classes say how the buffer is shared out.
type Classes struct {
	Alarm   Class `yaml:"alarm" doc:"what rules raise and clear"`
	Audit   Class `yaml:"audit" doc:"what the gateway says of itself: gaps, changes of condition"`
	Reading Class `yaml:"reading" doc:"what devices report"`
	Debug   Class `yaml:"debug" doc:"what rules keep on the gateway"`
}

// Class is what one class of records may take of the buffer.
type Class struct {
	Quota    int           `yaml:"quota" check:"min=0 max=100" doc:"percent of the buffer that is kept for it, 1 to 100; 0 = what the others leave. Others use it until it is wanted"`
	Overflow string        `yaml:"overflow" check:"enum=drop-oldest|drop-newest|thin" doc:"what goes when there is no room: drop-oldest, drop-newest (it has its quota and no more), or thin (readings only: minimum, maximum, mean and count stand for the oldest)"`
	Window   time.Duration `yaml:"window" check:"min=1s max=24h" doc:"thin: what one minimum, maximum and mean is of, 1s to 24h"`
}

// defaultClasses are those of an empty file.
func defaultClasses() Classes {
	of := func(quota int) Class { return Class{Quota: quota, Overflow: "drop-oldest", Window: time.Minute} }
	return Classes{Alarm: of(10), Audit: of(5), Reading: of(0), Debug: of(5)}
}

// checkClasses checks what the classes are together.
func (c *checker) checkClasses() {
	const path = "buffer.classes"
	sum, rest := 0, ""
	for _, x := range []struct {
		name string
		of   *Class
	}{{"alarm", &c.cfg.Buffer.Classes.Alarm}, {"audit", &c.cfg.Buffer.Classes.Audit}, {"debug", &c.cfg.Buffer.Classes.Debug}, {"reading", &c.cfg.Buffer.Classes.Reading}} {
		if sum += x.of.Quota; x.of.Quota == 0 {
			rest = x.name
		}
		if x.of.Overflow == "thin" && x.name != "reading" {
			c.Add(path+"."+x.name+".overflow", thinNoReadings, x.of.Overflow, "write drop-oldest or drop-newest", x.name)
		}
	}
	if sum == 100 && rest != "" {
		c.Add(path, quotasAll, "", "lower another one, or write down all", rest)
	}
	if sum > 100 {
		c.Add(path, quotasSum, strconv.Itoa(sum), "lower one; what is not set counts too: alarm 10, audit 5, debug 5")
	}
}
