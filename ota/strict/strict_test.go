package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type inner struct {
	Length int64  `json:"length"`
	Hash   string `json:"hash"`
}

type outer struct {
	Counter uint64   `json:"counter"`
	Percent float64  `json:"percent"`
	Halt    bool     `json:"halt"`
	Names   []string `json:"names"`
	Program inner    `json:"program"`
	More    []inner  `json:"more,omitempty"`
	Ignored int      `json:"-"`
}

const good = `{"counter":7,"percent":12.5,"halt":false,"names":["a"],"program":{"length":1,"hash":"x"}}`

func TestDecode(t *testing.T) {
	change := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("%s is not in %s", from, good)
		}
		return strings.Replace(good, from, to, 1)
	}
	tests := map[string]struct{ json, want string }{
		"all fields":                      {good, ""},
		"white space around":              {" \n" + good + "\t", ""},
		"optional field":                  {change(`"halt"`, `"more":[{"length":2,"hash":""}],"halt"`), ""},
		"field missing":                   {change(`"counter":7,`, ``), `JSON is refused: got no "counter"`},
		"field missing below":             {change(`"length":1,`, ``), `JSON is refused: got no "program.length"`},
		"field missing in a list":         {change(`"halt"`, `"more":[{"length":2,"hash":""},{"length":2}],"halt"`), `JSON is refused: got no "more.1.hash"`},
		"field unknown":                   {change(`"counter"`, `"other":1,"counter"`), `unknown object member name "other"`},
		"field unknown below":             {change(`"length"`, `"other":1,"length"`), `unknown object member name "other"`},
		"name in other letters":           {change(`"counter"`, `"Counter"`), `unknown object member name "Counter"`},
		"name in other letters as well":   {change(`"counter"`, `"COUNTER":8,"counter"`), `unknown object member name "COUNTER"`},
		"name twice":                      {change(`"counter"`, `"counter":8,"counter"`), `duplicate object member name "counter"`},
		"name twice below":                {change(`"length"`, `"length":8,"length"`), `duplicate object member name "length"`},
		"name twice, once escaped":        {change(`"counter"`, `"\u0063ounter":8,"counter"`), `duplicate object member name "counter"`},
		"null":                            {change(`"halt":false`, `"halt":null`), `got null at "/halt"`},
		"fraction":                        {change(`"counter":7`, `"counter":7.0`), `unmarshal JSON`},
		"exponent":                        {change(`"counter":7`, `"counter":7e0`), `unmarshal JSON`},
		"negative":                        {change(`"counter":7`, `"counter":-1`), `unmarshal JSON`},
		"minus zero":                      {change(`"counter":7`, `"counter":-0`), `unmarshal JSON`},
		"too high":                        {change(`"counter":7`, `"counter":18446744073709551616`), `value out of range`},
		"too high for signed":             {change(`"length":1`, `"length":9223372036854775808`), `value out of range`},
		"number as text":                  {change(`"counter":7`, `"counter":"7"`), `unmarshal JSON`},
		"leading zero":                    {change(`"counter":7`, `"counter":07`), `invalid character`},
		"plus":                            {change(`"counter":7`, `"counter":+7`), `invalid character`},
		"value behind":                    {good + `{}`, `got a value of 89 bytes and more behind it, 91 in all`},
		"bracket behind":                  {good + `}`, `got a value of 89 bytes and more behind it, 90 in all`},
		"zero byte behind":                {good + "\x00", `got a value of 89 bytes and more behind it, 90 in all`},
		"byte order mark":                 {"\ufeff" + good, `invalid character`},
		"nothing":                         {"", `got no value`},
		"white space only":                {" ", `got no value`},
		"cut short":                       {good[:len(good)-1], `unexpected EOF`},
		"no UTF-8":                        {change(`"a"`, "\"\xff\""), `invalid UTF-8`},
		"half a surrogate pair":           {change(`"a"`, `"\ud800"`), `invalid`},
		"control character":               {change(`"a"`, "\"\x01\""), `invalid character`},
		"comment":                         {change(`"halt"`, `/**/"halt"`), `invalid character`},
		"comma too much":                  {change(`"halt":false`, `"halt":false,`), `invalid character`},
		"text":                            {`"counter"`, `unmarshal JSON`},
		"list":                            {`[` + good + `]`, `unmarshal JSON`},
		"too deep":                        {strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), `got depth 33 at byte 33, want at most 32`},
		"far too deep":                    {strings.Repeat(`{"a":`, 100000), `got depth 33 at byte 161, want at most 32`},
		"field that is not to be read":    {change(`"halt"`, `"Ignored":1,"halt"`), `unknown object member name "Ignored"`},
		"name that is a prefix":           {change(`"halt"`, `"hal":1,"halt"`), `unknown object member name "hal"`},
		"infinity":                        {change(`12.5`, `1e999`), `value out of range`},
		"not a number":                    {change(`12.5`, `NaN`), `invalid character`},
		"true that is no literal of ours": {change(`false`, `True`), `invalid character`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var v outer
			checkError(t, Decode([]byte(tt.json), &v), tt.want)
			if tt.want == "" && (v.Counter != 7 || v.Percent != 12.5 || v.Program != inner{1, "x"}) {
				t.Errorf("got %+v", v)
			}
		})
	}
}

// TestFieldsWithoutATag: they have the name that they have in Go.
func TestFieldsWithoutATag(t *testing.T) {
	var v struct{ Counter int }
	checkError(t, Decode([]byte(`{}`), &v), `got no "Counter"`)
	checkError(t, Decode([]byte(`{"Counter":7}`), &v), "")
	if v.Counter != 7 {
		t.Errorf("got %d, want 7", v.Counter)
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want none", err)
	case want != "" && err == nil:
		t.Errorf("got no error, want %q", want)
	case want != "" && (!errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestCheck(t *testing.T) {
	tests := map[string]struct{ json, want string }{
		"zero":                {`{"version":0}`, ""},
		"highest":             {`[9007199254740991]`, ""},
		"beyond highest":      {`[9007199254740992]`, `got number 9007199254740992, want an integer from 0 to 9007199254740991 at "/0"`},
		"2^63":                {`{"version":9223372036854775808}`, `got number 9223372036854775808`},
		"2^64":                {`{"version":18446744073709551616}`, `got number 18446744073709551616`},
		"fraction":            {`{"signed":{"version":1.0}}`, `got number 1.0, want an integer from 0 to 9007199254740991 at "/signed/version"`},
		"exponent":            {`{"version":1e1}`, `got number 1e1`},
		"negative":            {`{"version":-1}`, `got number -1`},
		"minus zero":          {`{"version":-0}`, `got number -0`},
		"null":                {`{"keys":{"a":null}}`, `got null at "/keys/a"`},
		"name twice":          {`{"a":{"b":1,"b":1}}`, `duplicate object member name "b"`},
		"same name elsewhere": {`{"a":{"b":1},"c":{"b":1}}`, ""},
		"two values":          {`1 2`, `got a value of 1 bytes and more behind it, 3 in all`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			checkError(t, Check([]byte(tt.json)), tt.want)
			_, err := Canonical([]byte(tt.json))
			checkError(t, err, tt.want)
		})
	}
}

// TestCanonicalIsTheSameForTheSame writes random values in two ways, with other white space, escapes and order.
func TestCanonicalIsTheSameForTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		v := drawValue(rt, 3)
		one, err := json.Marshal(v) // sorted by bytes, HTML escaped
		if err != nil {
			rt.Fatal(err)
		}
		var two bytes.Buffer
		e := json.NewEncoder(&two)
		e.SetEscapeHTML(false)
		e.SetIndent(" ", "\t")
		if err := e.Encode(v); err != nil {
			rt.Fatal(err)
		}
		a, err := Canonical(one)
		if err != nil {
			rt.Fatal(err)
		}
		b, err := Canonical(two.Bytes())
		if err != nil || !bytes.Equal(a, b) {
			rt.Fatalf("got %s and %s (%v) for the same", a, b, err)
		}
		var back any
		if err := json.Unmarshal(a, &back); err != nil || !reflect.DeepEqual(back, v) {
			rt.Fatalf("got %v (%v), want %v", back, err, v)
		}
	})
}

func drawValue(t *rapid.T, depth int) any {
	kinds := 3
	if depth > 0 {
		kinds = 5
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.String().Draw(t, "text")
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return float64(rapid.Int64Range(0, MaxInteger).Draw(t, "number"))
	case 3:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			list = append(list, drawValue(t, depth-1))
		}
		return list
	}
	object := map[string]any{}
	for range rapid.IntRange(0, 3).Draw(t, "fields") {
		object[rapid.String().Draw(t, "name")] = drawValue(t, depth-1)
	}
	return object
}

// FuzzCheck holds Check against encoding/json: what it lets pass is read by that as well, has no name twice in any case of the library's
// reading, and only plain integers.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{good, `[9007199254740991]`, `{"a":{"b":1,"b":1}}`, `{"a":null}`, `1 2`, `[1.0]`, `{"a":"\ud800"}`, `[[[[]]]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v outer
		if err := Decode(b, &v); err != nil && !errors.Is(err, ErrRefused) {
			t.Fatalf("got %v, which is no %v", err, ErrRefused)
		}
		if err := Check(b); err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("got %v, which is no %v", err, ErrRefused)
			}
			return
		}
		d := json.NewDecoder(bytes.NewReader(b))
		var back any
		if err := d.Decode(&back); err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		judge(t, back)
		one, err := Canonical(b)
		if err != nil {
			t.Fatal(err)
		}
		two, err := Canonical(one)
		if err != nil || !bytes.Equal(one, two) {
			t.Fatalf("got %s of %s (%v)", two, one, err)
		}
	})
}

func judge(t *testing.T, v any) {
	switch v := v.(type) {
	case nil:
		t.Fatal("null passed")
	case float64:
		if v != math.Trunc(v) || v < 0 || v > MaxInteger || math.Signbit(v) {
			t.Fatalf("%v passed", v)
		}
	case []any:
		for _, p := range v {
			judge(t, p)
		}
	case map[string]any:
		for _, p := range v {
			judge(t, p)
		}
	}
}
