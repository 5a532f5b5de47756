package conformance

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// decodeSample decodes the blocks of d.Sample, each into a fresh d.New(), as strictly as the gateway does.
func decodeSample(d drivers.Driver) ([]drivers.Config, error) {
	file, err := parser.ParseBytes([]byte(d.Sample), 0)
	if err != nil {
		return nil, fmt.Errorf("decode sample: %w", err)
	}
	var out []drivers.Config
	for _, doc := range file.Docs {
		blocks := []ast.Node{doc.Body}
		if list, ok := doc.Body.(*ast.SequenceNode); ok {
			blocks = list.Values
		}
		for _, b := range blocks {
			c, err := decodeBlock(d, b)
			if err != nil {
				return nil, fmt.Errorf("decode sample: %w", err)
			}
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("decode sample: no block")
	}
	return out, nil
}

// decodeBlock decodes one block: what is the agent's is checked and left out, the rest has to be the driver's.
func decodeBlock(d drivers.Driver, block ast.Node) (drivers.Config, error) {
	m, ok := block.(*ast.MappingNode)
	if !ok {
		return nil, fmt.Errorf("a block is %T, want keys and values", block)
	}
	agents := map[string]string{}
	m.Values = slices.DeleteFunc(m.Values, func(v *ast.MappingValueNode) bool {
		key := v.Key.String()
		isAgents := slices.Contains([]string{"name", "driver", "every"}, key)
		if isAgents {
			agents[key] = v.Value.String()
		}
		return isAgents
	})
	if agents["driver"] != d.Name {
		return nil, fmt.Errorf("driver is %q, want %q", agents["driver"], d.Name)
	}
	if err := tidegate.CheckName(agents["name"]); err != nil {
		return nil, err
	}
	c := d.New()
	if len(m.Values) == 0 {
		return c, nil
	}
	return c, yaml.NodeToValue(m, c, yaml.Strict(), yaml.DisallowUnknownField())
}

func (x *exam) checkName() {
	if err := tidegate.CheckName(x.d.Name); err != nil {
		x.report("%v", err)
	} else if x.d.Name != strings.ToLower(x.d.Name) {
		x.report("name is %q, want lower case: it is the folder's", x.d.Name)
	}
}

func (x *exam) checkTexts() {
	if len(strings.Fields(x.d.Doc)) < 5 {
		x.report("Doc is %q", x.d.Doc)
	}
	for _, c := range x.channels(x.config()) {
		if !oneLine(c.Meaning) {
			x.report("Meaning of channel %s is %q", c.Name, c.Meaning)
		}
	}
	if x.d.Every < 0 {
		x.report("Every is %v", x.d.Every)
	}
}

func (x *exam) checkChannels() {
	seen := map[string]bool{}
	for _, c := range x.channels(x.config()) {
		if err := tidegate.CheckName(c.Name); err != nil {
			x.report("channel %q: %v", c.Name, err)
		}
		if seen[c.Name] {
			x.report("channel %q is declared twice", c.Name)
		}
		seen[c.Name] = true
		if c.Kind > tidegate.KindBytes {
			x.report("channel %s is of kind %d", c.Name, c.Kind)
		}
	}
	if len(seen) == 0 {
		x.report("no channel is declared")
	}
}

func (x *exam) checkUnits() {
	for _, c := range x.channels(x.config()) {
		if _, ok := tidegate.UnitMeaning(c.Unit); c.Unit != "" && !ok && !slices.Contains(x.o.Units, c.Unit) {
			x.report("unit %q of channel %s is not registered", c.Unit, c.Name)
		}
	}
}

func (x *exam) checkFresh() {
	a, b := x.d.New(), x.d.New()
	if a == nil || b == nil {
		x.report("New returns nil")
		return
	}
	if reflect.ValueOf(a).Kind() != reflect.Pointer || reflect.ValueOf(a).Elem().Kind() != reflect.Struct {
		x.report("New returns a %T, want a pointer to a struct", a)
		return
	}
	inA := references(reflect.ValueOf(a), "Config")
	for where, p := range references(reflect.ValueOf(b), "Config") {
		if inA[where] == p {
			x.report("two results of New share %s", where)
		}
	}
}

// references returns the addresses of all that the exported fields of v can be changed through, by their paths.
func references(v reflect.Value, path string) map[string]uintptr {
	out := map[string]uintptr{}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Map:
			if v.IsNil() || v.Kind() == reflect.Pointer && v.Type().Elem().Size() == 0 {
				return
			}
			out[path] = v.Pointer()
		case reflect.Slice:
			if v.Cap() == 0 || v.Type().Elem().Size() == 0 {
				return
			}
			out[path] = v.Pointer()
		}
		switch v.Kind() {
		case reflect.Pointer:
			walk(v.Elem(), path)
		case reflect.Struct:
			for i := range v.NumField() {
				if f := v.Type().Field(i); f.IsExported() {
					walk(v.Field(i), path+"."+f.Name)
				}
			}
		case reflect.Slice, reflect.Array:
			for i := range v.Len() {
				walk(v.Index(i), fmt.Sprintf("%s[%d]", path, i))
			}
		}
	}
	walk(v, path)
	return out
}

func (x *exam) checkSettings() {
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || t.PkgPath() == "time" {
			return
		}
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() || f.Tag.Get("yaml") == "-" {
				continue
			}
			if f.Tag.Get("yaml") == "" || !oneLine(f.Tag.Get("doc")) {
				x.report("setting %s.%s lacks a yaml or doc tag", path, f.Name)
			}
			walk(f.Type, path+"."+f.Name)
		}
	}
	walk(reflect.TypeOf(x.d.New()), "Config")
}

func (x *exam) checkSample() {
	defer x.caught("sample")
	blocks, err := decodeSample(x.d)
	if err != nil {
		x.report("%v", err)
	}
	for i, c := range blocks {
		for _, e := range c.Validate() {
			x.report("block %d: %v", i+1, e)
		}
	}
	if x.o.Config != nil {
		for _, e := range x.o.Config().Validate() {
			x.report("Options.Config: %v", e)
		}
	}
}

// snapshot returns the exported settings of c as text.
func snapshot(c drivers.Config) string {
	b, err := yaml.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// checkPure validates the configuration and as many broken ones as there are settings to break.
func (x *exam) checkPure() {
	synctest.Test(x.t, func(*testing.T) {
		try := func(c drivers.Config, what string) {
			defer x.caught(what)
			before, start := snapshot(c), time.Now()
			first, second := c.Validate(), c.Validate()
			if !reflect.DeepEqual(first, second) {
				x.report("%s: the second Validate says %v, the first %v", what, second, first)
			}
			if after := snapshot(c); after != before {
				x.report("%s: Validate changes the settings", what)
			}
			if d := time.Since(start); d > 0 {
				x.report("%s: Validate waits for %v", what, d)
			}
			for _, e := range first {
				if x.fieldProblem(c, e) != "" {
					x.reportAs("field-errors", "%s: %s: %v", what, x.fieldProblem(c, e), e)
				}
			}
		}
		try(x.config(), "good configuration")
		try(x.d.New(), "default configuration")
		x.eachBroken(try)
	})
}

// caught reports a panic. It is to be deferred.
func (x *exam) caught(what string) {
	if p := recover(); p != nil {
		x.report("%s: panic: %v", what, p)
	}
}

// fieldProblem returns what is wrong with how e says what is wrong; "" = nothing.
func (x *exam) fieldProblem(c drivers.Config, e drivers.FieldError) string {
	if !oneLine(e.Problem) || strings.HasSuffix(e.Problem, ".") {
		return "its problem is empty, or not one line without a full stop"
	}
	if r := []rune(e.Problem); len(r) > 1 && r[0] >= 'A' && r[0] <= 'Z' && r[1] >= 'a' && r[1] <= 'z' {
		return "its problem begins with a capital letter"
	}
	key, _, _ := strings.Cut(e.Field, ".")
	key, _, _ = strings.Cut(key, "[")
	t := reflect.TypeOf(c).Elem()
	for i := range t.NumField() {
		if tag, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); key == "" || tag == key {
			return ""
		}
	}
	return fmt.Sprintf("there is no setting %q", key)
}

// eachBroken calls f with configurations of which one setting is not what it should be, each fresh.
func (x *exam) eachBroken(f func(c drivers.Config, what string)) {
	t := reflect.TypeOf(x.config()).Elem()
	for i := range t.NumField() {
		if !t.Field(i).IsExported() {
			continue
		}
		for k := 0; ; k++ {
			c := x.config()
			v := reflect.ValueOf(c).Elem().Field(i)
			bad := badValues(v)
			if k >= len(bad) {
				break
			}
			v.Set(bad[k])
			f(c, fmt.Sprintf("%s = %.40q", t.Field(i).Name, fmt.Sprint(bad[k].Interface())))
		}
	}
	zero := x.config()
	for i := range t.NumField() {
		if t.Field(i).IsExported() {
			reflect.ValueOf(zero).Elem().Field(i).SetZero()
		}
	}
	f(zero, "everything zero")
}

// badValues returns values of v's type that are seldom good ones.
func badValues(v reflect.Value) []reflect.Value {
	t := v.Type()
	out := []reflect.Value{reflect.Zero(t)}
	set := func(f func(n reflect.Value)) {
		n := reflect.New(t).Elem()
		f(n)
		out = append(out, n)
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		for _, i := range []int64{-1, 1, math.MaxInt64 >> (64 - t.Bits()), math.MinInt64 >> (64 - t.Bits())} {
			set(func(n reflect.Value) { n.SetInt(i) })
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		set(func(n reflect.Value) { n.SetUint(math.MaxUint64 >> (64 - t.Bits())) })
	case reflect.Float32, reflect.Float64:
		for _, f := range []float64{-1, math.NaN(), math.Inf(1), math.SmallestNonzeroFloat64} {
			set(func(n reflect.Value) { n.SetFloat(f) })
		}
	case reflect.String:
		for _, s := range []string{"\x00", " ", "\xff\xfe", "(", "://", "../../etc/passwd", strings.Repeat("a", 20_000)} {
			set(func(n reflect.Value) { n.SetString(s) })
		}
	case reflect.Slice:
		for i := range min(v.Len(), 2) {
			for _, bad := range badValues(v.Index(i)) {
				set(func(n reflect.Value) { n.Set(reflect.AppendSlice(n, v)); n.Index(i).Set(bad) })
			}
		}
		set(func(n reflect.Value) { n.Set(reflect.MakeSlice(t, 1, 1)) })
		set(func(n reflect.Value) { n.Set(reflect.MakeSlice(t, 500, 500)) })
	case reflect.Map:
		set(func(n reflect.Value) {
			n.Set(reflect.MakeMap(t))
			n.SetMapIndex(reflect.Zero(t.Key()), reflect.Zero(t.Elem()))
		})
	case reflect.Pointer:
		set(func(n reflect.Value) { n.Set(reflect.New(t.Elem())) })
	case reflect.Struct:
		for i := range t.NumField() {
			if !t.Field(i).IsExported() {
				continue
			}
			for _, bad := range badValues(v.Field(i)) {
				set(func(n reflect.Value) { n.Set(v); n.Field(i).Set(bad) })
			}
		}
	}
	return out
}
