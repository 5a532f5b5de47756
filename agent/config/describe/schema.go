package describe

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
)

// object is a JSON object.
type object = map[string]any

// durationPattern is Go's notation of durations, without sign.
const durationPattern = `^(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))*)$`

// integerPattern is a whole number as a key.
const integerPattern = `^([-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+)$`

// Schema returns the JSON Schema (draft 7, which editors know) of the configuration of a gateway with these drivers.
func Schema(list []drivers.Driver) ([]byte, error) {
	def := config.Default()
	def.Uplink = &config.Uplink{}
	def.Uplink.Preset()
	top, err := structSchema(reflect.ValueOf(def).Elem())
	if err != nil {
		return nil, err
	}
	properties := top["properties"].(object)
	device, definitions, err := deviceSchema(list)
	if err != nil {
		return nil, err
	}
	properties["devices"].(object)["items"] = device
	top["type"] = "object" // an empty file is none
	top["$schema"] = "http://json-schema.org/draft-07/schema#"
	top["title"] = "Tidegate gateway"
	top["definitions"] = definitions
	b, err := json.MarshalIndent(top, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return append(b, '\n'), nil
}

// deviceSchema returns the schema of a device, which asks the schema of its driver, and those.
func deviceSchema(list []drivers.Driver) (device, definitions object, err error) {
	definitions = object{}
	var names, cases []any
	for _, d := range list {
		own, err := structSchema(reflect.ValueOf(&config.Device{}).Elem())
		if err != nil {
			return nil, nil, err
		}
		settings, err := structSchema(reflect.ValueOf(d.New()).Elem())
		if err != nil {
			return nil, nil, fmt.Errorf("driver %s: %w", d.Name, err)
		}
		properties := settings["properties"].(object)
		for key, value := range own["properties"].(object) {
			if _, both := properties[key]; both {
				return nil, nil, fmt.Errorf("driver %s: key %q is every device's", d.Name, key)
			}
			properties[key] = value
		}
		if d.Every > 0 {
			every := maps.Clone(properties["every"].(object))
			every["default"] = duration(d.Every)
			properties["every"] = every
		}
		required, _ := settings["required"].([]string)
		settings["required"] = append(slices.Clone(own["required"].([]string)), required...)
		settings["description"] = FirstSentence(d.Doc)
		definitions[d.Name] = settings
		names = append(names, d.Name)
		cases = append(cases, object{
			"if":   object{"properties": object{"driver": object{"const": d.Name}}, "required": []string{"driver"}},
			"then": object{"$ref": "#/definitions/" + d.Name},
		})
	}
	return object{
		"type": "object", "required": []string{"name", "driver"},
		"properties": object{"driver": object{"enum": names}}, "allOf": cases,
	}, definitions, nil
}

// structSchema returns the schema of the struct v, whose values are the defaults.
func structSchema(v reflect.Value) (object, error) {
	properties, required := object{}, []string{}
	for _, f := range strict.Fields(v) {
		s, err := valueSchema(f.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Key, err)
		}
		if f.Doc != "" {
			s["description"] = f.Doc
		}
		if text := plain(f.Value); isWritten(f.Value) && text != "" && text != `""` && text != "[]" && text != "{}" {
			s["default"] = jsonDefault(f.Value, text)
		}
		for _, c := range strings.Fields(f.Check) {
			name, arg, _ := strings.Cut(c, "=")
			if name == "required" {
				required = append(required, f.Key)
			}
			limit(s, name, arg)
		}
		properties[f.Key] = s
	}
	out := object{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		out["required"] = required
		out["type"] = "object"
	}
	return out, nil
}

// limit adds to s what one word of a check tag says, as far as a schema can.
func limit(s object, name, arg string) {
	n, err := strconv.Atoi(arg)
	switch {
	case name == "enum":
		delete(s, "type")
		s["enum"] = strings.Split(arg, "|")
	case name == "min" && err == nil:
		s["minimum"] = n
	case name == "max" && err == nil:
		s["maximum"] = n
	case (name == "required" || name == "filled") && reflect.DeepEqual(s["type"], textTypes()):
		s["minLength"] = 1
	}
}

// textTypes are what may stand where a text is wanted: a number or yes/no is the text that it is written as.
func textTypes() []string { return []string{"string", "number", "boolean"} }

// isWritten reports whether v is written as one word, number or text.
func isWritten(v reflect.Value) bool {
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	return isText || v.Kind() != reflect.Struct && v.Kind() != reflect.Slice && v.Kind() != reflect.Map && v.Kind() != reflect.Pointer
}

// jsonDefault returns a default as the file has it.
func jsonDefault(v reflect.Value, text string) any {
	_, isText := v.Addr().Interface().(encoding.TextUnmarshaler)
	if isText || v.Type() == reflect.TypeFor[time.Duration]() {
		return text
	}
	return v.Interface()
}

// valueSchema returns the schema of one value.
func valueSchema(v reflect.Value) (object, error) {
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		if v.IsNil() {
			v = reflect.New(t.Elem())
		}
		return valueSchema(v.Elem())
	}
	if _, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if p, ok := v.Interface().(interface{ Pattern() string }); ok {
			return object{"type": "string", "pattern": p.Pattern()}, nil
		}
		return object{"type": textTypes()}, nil
	}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return object{"anyOf": []any{object{"type": "string", "pattern": durationPattern}, object{"const": 0}}}, nil
	case reflect.TypeFor[tidegate.Value]():
		return object{"type": textTypes()}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": textTypes()}, nil
	case reflect.Bool:
		return object{"type": "boolean"}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}, nil
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}, nil
	case reflect.Slice:
		items, err := valueSchema(fresh(t.Elem()))
		return object{"type": []string{"array", "null"}, "items": items}, err
	case reflect.Map:
		values, err := valueSchema(fresh(t.Elem()))
		out := object{"type": []string{"object", "null"}, "additionalProperties": values}
		if t.Key().Kind() != reflect.String {
			out["propertyNames"] = object{"pattern": integerPattern}
		}
		return out, err
	case reflect.Struct:
		return structSchema(v)
	}
	return nil, fmt.Errorf("no file can hold a setting of Go type %s", t)
}
