// Package describe makes of the configuration's structs what people and editors read: the sample file, a driver's settings, and a
// JSON Schema. Nothing is written twice: keys, prose and limits are the structs' tags, defaults the values that New and Preset set.
package describe

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
)

// textWidth is where prose is wrapped.
const textWidth = 110

// Settings returns the settings of a driver, in order: prose behind ##, keys with their defaults behind #.
func Settings(d drivers.Driver) string {
	var p page
	p.fields(reflect.ValueOf(d.New()).Elem())
	return p.String()
}

// Sample returns a configuration that can be used as it stands and shows every setting. Of the drivers in list, active is used and
// the others stand behind #.
func Sample(list []drivers.Driver, active string) string {
	var p page
	p.prose("##", "Configuration of a Tidegate gateway. Prose stands behind ##, settings with their defaults behind #. "+
		"After a change: tidegate check --config FILE.")
	p.line("# yaml-language-server: $schema=tidegate.schema.json")
	def := config.Default()
	def.Uplink = &config.Uplink{}
	def.Uplink.Preset()
	for _, f := range strict.Fields(reflect.ValueOf(def).Elem()) {
		p.line("")
		p.prose("##", f.Doc)
		switch f.Key {
		case "devices":
			p.line("devices:")
			p.devices(list, active)
		case "uplink":
			p.line("uplink:")
			p.uplink(f.Value.Elem())
		default:
			p.nested("# ", f)
		}
	}
	return p.String()
}

// devices writes a block for each driver.
func (p *page) devices(list []drivers.Driver, active string) {
	for _, f := range strict.Fields(reflect.ValueOf(&config.Device{}).Elem()) {
		p.prose("  ##", f.Key+": "+f.Doc)
	}
	for _, d := range list {
		p.line("")
		p.prose("  ##", d.Name+": "+FirstSentence(d.Doc)+" (tidegate drivers "+d.Name+" shows all settings)")
		mark := "# "
		if d.Name == active {
			mark = ""
		}
		for line := range strings.Lines(Entry(d.Sample)) {
			p.line("  " + mark + strings.TrimSuffix(line, "\n"))
		}
	}
}

// uplink writes the uplink, with the one setting that has no default.
func (p *page) uplink(v reflect.Value) {
	for _, f := range strict.Fields(v) {
		p.prose("  ##", f.Doc)
		if f.Key == "url" {
			p.line("  url: mqtt://127.0.0.1:1883")
		} else {
			p.nested("  # ", f)
		}
	}
}

// FirstSentence returns text up to its first full stop or empty line, as one line without the full stop.
func FirstSentence(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n\n")
	text = strings.Join(strings.Fields(text), " ")
	sentence, _, _ := strings.Cut(text, ". ")
	return strings.TrimSuffix(sentence, ".")
}

// Entry returns a driver's sample as an entry of a list, whether or not it has a dash already.
func Entry(sample string) string {
	sample = strings.Trim(sample, "\n")
	if strings.HasPrefix(sample, "- ") {
		return sample
	}
	return "- " + strings.ReplaceAll(sample, "\n", "\n  ")
}

// page is a text in the making.
type page struct{ strings.Builder }

func (p *page) line(s string) { p.WriteString(strings.TrimRight(s, " ") + "\n") }

// prose writes text behind mark, wrapped.
func (p *page) prose(mark, text string) {
	line := mark
	for _, w := range strings.Fields(text) {
		if len(line)+1+len(w) > textWidth {
			p.line(line)
			line = mark
		}
		line += " " + w
	}
	p.line(line)
}

// fields writes the settings of the struct v behind #.
func (p *page) fields(v reflect.Value) {
	for _, f := range strict.Fields(v) {
		p.prose("##", f.Doc)
		p.nested("# ", f)
	}
}

// nested writes one setting behind prefix, which ends where its key begins.
func (p *page) nested(prefix string, f strict.Field) {
	v := f.Value
	if v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct {
		v = fresh(v.Type().Elem())
	}
	pad := strings.ReplaceAll(prefix, "-", " ") + "  "
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case isText || v.Type() == reflect.TypeFor[tidegate.Value]():
	case v.Kind() == reflect.Struct:
		p.line(prefix + f.Key + ":")
		p.below(pad, "", v)
		return
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && f.Key != "uplinks":
		p.line(prefix + f.Key + ":")
		p.below(pad, "- ", fresh(v.Type().Elem()))
		return
	case v.Kind() == reflect.Map && v.Type().Elem().Kind() == reflect.Struct:
		p.line(prefix + f.Key + ":")
		p.line(pad + "name:")
		p.below(pad+"  ", "", fresh(v.Type().Elem()))
		return
	}
	value := plain(v)
	if strings.Contains(f.Check, "required") && value == `""` {
		value = ""
	}
	p.line(prefix + f.Key + ": " + value)
}

// below writes the settings of the struct v behind prefix, the first behind dash too.
func (p *page) below(prefix, dash string, v reflect.Value) {
	pad := strings.Repeat(" ", len(dash))
	hash := strings.IndexByte(prefix, '#')
	for i, f := range strict.Fields(v) {
		behind := prefix + pad
		p.prose(behind[:hash]+"#"+strings.TrimSuffix(behind[hash:], " "), f.Doc)
		if i == 0 || strings.Contains(f.Check, "alone") {
			behind = prefix + dash
		}
		p.nested(behind, f)
	}
}

// fresh returns a new struct of type t with its defaults.
func fresh(t reflect.Type) reflect.Value {
	v := reflect.New(t)
	if p, ok := v.Interface().(strict.Presetter); ok {
		p.Preset()
	}
	return v.Elem()
}

// rePlain are texts that need no quotes in YAML.
var rePlain = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9_./:-]*$`)

// plain returns v as it is written in the file; "" when it is not set.
func plain(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return duration(x)
	case tidegate.Value:
		return x.String()
	case fmt.Stringer:
		return x.String()
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return ""
		}
		return plain(v.Elem())
	case reflect.String:
		if rePlain.MatchString(v.String()) {
			return v.String()
		}
		return strconv.Quote(v.String())
	case reflect.Slice:
		list := make([]string, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return "[" + strings.Join(list, ", ") + "]"
	case reflect.Map:
		return "{}"
	}
	return fmt.Sprint(v.Interface())
}

// duration returns d without parts that are zero: 1h rather than 1h0m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
