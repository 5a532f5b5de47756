package strict

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

type inner struct {
	Text  string            `yaml:"text" check:"required"`
	Word  string            `yaml:"word" check:"enum=one|two"`
	Whole int               `yaml:"whole" check:"min=-3 max=10"`
	Small int8              `yaml:"small"`
	Big   uint64            `yaml:"big"`
	Byte  uint8             `yaml:"byte"`
	Float *float64          `yaml:"float"`
	Yes   bool              `yaml:"yes"`
	Pause time.Duration     `yaml:"pause" check:"max=5s"`
	Any   tidegate.Value    `yaml:"any"`
	List  []string          `yaml:"list"`
	Deep  []inner           `yaml:"deep"`
	Names map[string]string `yaml:"names"`
	Enum  map[int64]string  `yaml:"enum"`
	More  *inner            `yaml:"more"`
	Base  `yaml:",inline"`
	own   int
}

// Base is inlined.
type Base struct {
	NoTag  string
	Hidden string `yaml:"-"`
}

func decode(text string) (inner, *Doc) {
	v := inner{own: 1}
	d := New("t")
	d.Parse([]byte(text))
	d.Decode(&v, nil)
	return v, d
}

func TestDecode(t *testing.T) {
	v, d := decode("text: a\nsmall: -128\nbig: 18446744073709551615\nbyte: 0xff\nfloat: -1.5e-3\nyes: true\npause: 1.5s\nany: -7\n" +
		"list: [a, 'b', 1.0]\nnames: {x: y, 1: true}\nenum: {-1: a, 0x10: b}\nmore: {text: c, more: {text: d}}\nnotag: e\n" +
		"deep:\n- text: |\n    f\n    g\n- text: >-\n    h\n    i\n  pause: 0\n")
	if f := d.Faults(); len(f) > 0 {
		t.Fatal(f)
	}
	got := fmt.Sprint(v.Text, v.Small, v.Big, v.Byte, *v.Float, v.Yes, v.Pause, v.Any, v.List, v.Names, v.Enum, v.More.Text, v.More.More.Text, v.NoTag)
	want := "a-128 18446744073709551615 255 -0.0015 true 1.5s -7 [a b 1.0] map[1:true x:y] map[-1:a 16:b]cde"
	if got != want || v.Deep[0].Text != "f\ng\n" || v.Deep[1].Text != "h i" || v.own != 1 {
		t.Errorf("got %s, want %s; %q, %q", got, want, v.Deep[0].Text, v.Deep[1].Text)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"small: 128":          "t:1:8: small: number is out of range, -128 to 127 (got 128); write a number in that range",
		"big: -1":             "t:1:6: big: number is out of range, 0 to 18446744073709551615 (got -1); write a number in that range",
		"byte: 256":           "t:1:7: byte: number is out of range, 0 to 255 (got 256); write a number in that range",
		"whole: 11":           "t:1:8: whole: more than 10 (got 11); write 10 or less",
		"whole: -4":           "t:1:8: whole: less than -3 (got -4); write -3 or more",
		"hidden: x":           "t:1:1: hidden: unknown key; keys here are text, word, whole, small, big, byte, float, yes, pause, any, list, deep, names, enum, more, notag",
		"wrod: one":           "t:1:1: wrod: unknown key; did you mean \"word\"?",
		"more: {more: {x: }}": "t:1:15: more.more.x: unknown key; keys here are text, word, whole, small, big, byte, float, yes, pause, any, list, deep, names, enum, more, notag",
	} {
		if strings.HasPrefix(text, "more") {
			text = strings.Replace(strings.Replace(text, "{more", "{text: a, more", 1), "{x", "{text: a, x", 1)
			want = strings.Replace(want, "1:15", "1:33", 1)
		}
		_, d := decode(text + "\ntext: a\n")
		if f := d.Faults(); len(f) != 1 || f[0].String() != want {
			t.Errorf("%q: got %v\nwant %s", text, f, want)
		}
	}
}

// TestRest: keys that no field has go where the struct takes the rest, each with its place; none of them is unknown.
func TestRest(t *testing.T) {
	var v struct {
		At   time.Duration             `yaml:"at" check:"required"`
		Rest map[string]tidegate.Value `yaml:",rest"`
	}
	d := New("t")
	d.Parse([]byte("b.y: 2\nat: 1s\na.x: 'on'\nc.z: on\n"))
	d.Decode(&v, nil)
	if len(v.Rest) != 2 || v.Rest["b.y"] != tidegate.Int(2) || v.Rest["a.x"] != tidegate.Text("on") || v.At != time.Second {
		t.Errorf("got %v", v)
	}
	const want = `t:4:6: c.z: neither true or false nor a text in quotes (got on); write true, or put it in quotes if it is a text`
	if f := d.Faults(); len(f) != 1 || f[0].String() != want {
		t.Errorf("got %v, want %s", f, want)
	}
	if line, col := d.Position("a.x"); line != 3 || col != 6 {
		t.Errorf("a.x stands at %d:%d", line, col)
	}
	d = New("t")
	d.Parse([]byte("a.x: 1\n"))
	d.Decode(&v, nil)
	if f := d.Faults(); len(f) != 1 || f[0].Site != missingKey {
		t.Errorf("without at: %v", f)
	}
}

// TestPlaces: faults found later point at the value, or at what is nearest around it.
func TestPlaces(t *testing.T) {
	_, d := decode("text: 'a b'\nlist:\n  - x\nmore:\n  text: plain text\n  word: \"o\\x6ee\"\nnotag: two\n  lines\n")
	const site Site = "wrong"
	d.AddWithin("text", 3, site, "b", "h")
	d.AddWithin("more.text", 7, site, "t", "h")
	d.AddWithin("more.word", 3, site, "e", "h")
	d.AddWithin("notag", 5, site, "l", "h")
	d.Add("list[0]", site, "", "h")
	d.Add("list[7].x", site, "", "h")
	d.Warn("more.pause", site, "", "h")
	d.Add("absent.key", site, "", "h")
	var got []string
	for _, f := range d.Faults() {
		got = append(got, f.String())
	}
	want := []string{
		"t: absent.key: wrong; h", "t:1:10: text: wrong (got b); h", "t:3:3: list[7].x: wrong; h", "t:3:5: list[0]: wrong; h",
		"t:5:3: warning: more.pause: wrong; h", "t:5:15: more.text: wrong (got t); h", "t:6:9: more.word: wrong (got e); h",
		"t:7:8: notag: wrong (got l); h",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !d.Faulty("list") || !d.Faulty("list[7]") || d.Faulty("list[") || d.Faulty("more.pause") || d.Faulty("lis") || d.Faulty("pause") {
		t.Error("Faulty is wrong")
	}
	if d.Sound() || !d.Given("more.text") || d.Given("more.pause") {
		t.Error("Sound or Given is wrong")
	}
}

func TestOpenRefused(t *testing.T) {
	r := openRefused(&fs.PathError{Op: "open", Path: "/x y", Err: fs.ErrPermission})
	if got := fmt.Sprintf(string(r.Site), r.Args...) + "|" + r.Got + "|" + r.Hint; got != `open file: permission denied|"/x y"|let the user that runs the gateway read it` {
		t.Error(got)
	}
	r = openRefused(errors.New("odd"))
	if got := fmt.Sprintf(string(r.Site), r.Args...) + "|" + r.Got; got != "open file: odd|" {
		t.Error(got)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"address", "registers", "unit", "url", "urls", "password_file", "batch"}
	for text, want := range map[string]string{
		"adress": "address", "Address": "address", "addr": "address", "register": "registers", "unti": "unit", "ulr": "url",
		"urlss": "urls", "password": "password_file", "PASSWORD": "password_file", "bacth": "batch", "x": "", "": "", "port": "", "sddres": "address",
		"ü": "",
	} {
		if got, _ := Nearest(text, words); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestShow(t *testing.T) {
	for text, want := range map[string]string{
		"a": "a", "": `""`, "a b": `"a b"`, `"`: `"\""`, "é": "é", "\x1b[1m": `"\x1b[1m"`,
		strings.Repeat("é", 61): strings.Repeat("é", 57) + "...",
	} {
		if got := Show(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestSame(t *testing.T) {
	f := func(x float64) *float64 { return &x }
	base := func() inner {
		return inner{Text: "a", Float: f(1), List: []string{"x"}, Names: map[string]string{"k": "v"}, More: &inner{Text: "b"}, Any: tidegate.Int(1)}
	}
	if a, b := base(), base(); !Same(a, b) || !Same(&a, &b) {
		t.Error("equal structs are not the same")
	}
	if !Same(nil, nil) || Same(nil, 1) || Same(1, "1") || Same(&inner{}, (*inner)(nil)) {
		t.Error("nothing is the same as something")
	}
	for name, change := range map[string]func(*inner){
		"text": func(v *inner) { v.Text = "b" }, "pointer": func(v *inner) { v.Float = f(2) }, "no pointer": func(v *inner) { v.Float = nil },
		"shorter": func(v *inner) { v.List = nil }, "entry": func(v *inner) { v.List = []string{"y"} }, "longer": func(v *inner) { v.List = []string{"x", "y"} },
		"value of a key": func(v *inner) { v.Names = map[string]string{"k": "w"} }, "key": func(v *inner) { v.Names = map[string]string{"l": "v"} },
		"keys": func(v *inner) { v.Names = map[string]string{"k": "v", "l": "v"} }, "below": func(v *inner) { v.More.Text = "c" },
		"inlined": func(v *inner) { v.NoTag = "x" }, "value": func(v *inner) { v.Any = tidegate.Float(1) },
	} {
		a, b := base(), base()
		change(&b)
		if Same(a, b) || Same(b, a) {
			t.Errorf("another %s is the same", name)
		}
	}
	a, b := base(), base()
	b.Hidden, b.own = "x", 7
	if !Same(a, b) {
		t.Error("what is no setting counts")
	}
}

// FuzzDecode: whatever the text, decoding ends with a sound struct or with faults, and neither panics nor hangs.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"text: a\n", "text: &a x\nlist: [*a, *a]\n", "deep:\n- text: 'x'\n  more: {text: \"y\\n\"}\n", "a: &a\n  b: *a\n",
		"names: {a: b, 1: 2}\nenum: {0: off, 0x10: on}\n", "pause: 10\nwhole: 010\nfloat: 1,5\nyes: on\nany: no\n", "text: |\n  x\n  y\n",
		"text: >-\n  x\n\n  y\n# c\nlist:\n  - a # b\n  -\n", "? a\n: b\n", "%YAML 1.2\n---\na: 1\n", "---\n- a\n---\n", "\xef\xbb\xbftext: a\r\n",
		"<<: {a: b}\n", "text: !!str 5\n", "[[[[{a: [", "- - - - a\n", "text: a: b\n", "\ttext: a\n", "text: \"\\q\"\n", "deep: [{more: ~}]\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, d := decode(s)
		for _, fault := range d.Faults() {
			if fault.Line < 0 || fault.Col < 0 || fault.Line > 0 && fault.Col == 0 || fault.Problem == "" {
				t.Errorf("incomplete fault %+v", fault)
			}
			if fault.Hint == "" && fault.Site != moreFaults && fault.Site != missingKey {
				t.Errorf("fault without hint %+v", fault)
			}
		}
		if d.Sound() && v.Text == "" {
			t.Errorf("sound without a text: %+v", v)
		}
	})
}
