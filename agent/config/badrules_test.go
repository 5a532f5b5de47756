package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestBadRules: each of these rules is a named fault, and the fault of the rule behind it is told as well, unless the file is no configuration
// at all. What happens to rules that are good as far as can be told, and get bad values, is in package rules, TestBadInput.
func TestBadRules(t *testing.T) {
	const head = "devices: [{name: meter1, driver: meter, address: 192.0.2.7, registers: [{channel: temp, address: 1}, {channel: mode, kind: text, address: 2}, {channel: relay, kind: bool, output: true, address: 3}, {channel: aux, kind: bool, output: true, address: 4}]}]\n" +
		"uplink: {url: \"mqtt://127.0.0.1:1883\"}\nrules:\n"
	rule := func(name, when string) string {
		return fmt.Sprintf("- {name: %s, when: '%s', do: [{alarm: {severity: info, text: x}}]}\n", name, when)
	}
	const other = `meter1.temp: more: the other rule` // no condition
	for name, c := range map[string]struct {
		text   string
		want   string // of its fault; "" = it is good
		isFile bool   // it is the file that is refused
	}{
		"division by zero":                {rule("bad", "meter1.temp / 0 > 1"), "rules[0].when: condition cannot be used: division by zero (got 0); divide by another number", false},
		"division by what is always zero": {rule("bad", "meter1.temp / (3 - 3) > 1"), "rules[0].when: condition cannot be used: division by zero (got 3); divide by another number", false},
		"always holds":                    {rule("bad", "meter1.temp > 1 or meter1.temp <= 1"), "condition cannot be used: always holds", false},
		"a window of ten years":           {rule("good", "avg(meter1.temp, 10y) > 1"), "", false},
		"a window of a hundred years":     {rule("bad", "avg(meter1.temp, 100y) > 1"), "condition cannot be used: no length of time (got 100y); lengths of time are longer than 0s, and at most 20y", false},
		"a rule that triggers itself": {
			"- {name: bad, when: meter1.relay == false, do: [{set: {channel: meter1.relay, value: true, on_clear: false}}]}\n",
			"rules[0].do[0].set.channel: `when` looks at output meter1.relay, and may hold again once the rule has set it to false", false,
		},
		"rules that trigger each other": {
			"- {name: bad, when: not meter1.relay, do: [{set: {channel: meter1.aux, value: true, on_clear: false}}]}\n" +
				"- {name: worse, when: meter1.aux, do: [{set: {channel: meter1.relay, value: true, on_clear: false}}]}\n",
			"rules trigger each other, round and round, by the outputs that they set: ", false,
		},
		"a rule of 64 KiB":                    {rule("bad", "meter1.temp > 1"+strings.Repeat(" ", 64<<10-15)), "condition cannot be used: 65536 characters long, at most 4096 (got \"65536 characters\"); write several rules", false},
		"many parts":                          {rule("bad", strings.Repeat("meter1.temp > 1 and ", 200)+"meter1.temp > 0"), "condition cannot be used: more than 500 parts", false},
		"many parts written out":              {rule("bad", "meter1.temp in [1,2] in [1,2]"+strings.Repeat(" in [1,2]", 20)), "condition cannot be used: more than 2000 parts, lists written out", false},
		"deep nesting":                        {rule("bad", strings.Repeat("abs(", 600)+"meter1.temp"+strings.Repeat(")", 600)+" > 1"), "condition cannot be used: more than 500 parts", false},
		"deep nesting that is none":           {rule("good", strings.Repeat("(", 2000)+"meter1.temp > 1"+strings.Repeat(")", 2000)), "", false},
		"deep nesting that does not end":      {rule("bad", strings.Repeat("(", 4000)+"meter1.temp > 1"), "condition cannot be used: what is opened here is not closed", false},
		"deep nesting of lists":               {"- " + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "\n", "more than 64 levels", true},
		"a regular expression of 200 KB":      {rule("bad", `meter1.mode matches "`+strings.Repeat("a", 200_000)+`"`), "condition cannot be used: 200022 characters long, at most 4096", false},
		"a regular expression of 1 MB":        {rule("bad", `meter1.mode matches "`+strings.Repeat("a", 1<<20)+`"`), "condition cannot be used: 1048598 characters long, at most 4096", false},
		"a regular expression that repeats":   {rule("bad", `meter1.mode matches "`+strings.Repeat("a{1000}", 500)+`"`), "condition cannot be used: regular expression of more than 2000 parts, repeats written out", false},
		"a repeat of repeats":                 {rule("bad", `meter1.mode matches "((a{100}){100}){100}"`), "condition cannot be used: no regular expression: invalid repeat count", false},
		"10,000 rules":                        {many(10_000, rule), "more than 30000 values, keys and marks in one file (got ", true},
		"as many rules as there may be":       {many(1_250, rule), "", false},
		"as many rules as long as may be":     {long(100, rule), "", false},
		"a rule that looks at many channels":  {rule("bad", "meter1.temp > 1 and meter9.temp > 1"), "no device", false},
		"more calls than a rule may have":     {rule("bad", "avg(meter1.temp, 1s)"+repeated(" + avg(meter1.temp, %ds)", 2, 17)+" > 1"), "condition cannot be used: more than 16 calls that keep something over time", false},
		"a name that is none, and is long":    {rule(strings.Repeat("n", 300), "meter1.temp > 1"), "rules[0].name: ", false},
		"numbers beyond what a double can be": {rule("bad", "meter1.temp > 1e999"), "condition cannot be used: ", false},
	} {
		text := head + c.text + rule("other", other)
		before := processorTime(t)
		cfg, faults, err := Parse("tidegate.yaml", []byte(text), testDrivers())
		used := processorTime(t) - before
		var said []string
		for _, f := range faults {
			said = append(said, f.String())
		}
		all := strings.Join(said, "\n")
		if cfg != nil || err == nil || !strings.Contains(all, c.want) {
			t.Errorf("%s: got %.500q, want %q", name, all, c.want)
		}
		if got := strings.Contains(all, ".when: condition cannot be used: not expected here (got "); got == c.isFile {
			t.Errorf("%s: the other rule: told is %v: %.500q", name, got, all)
		}
		if want := map[bool]int{true: 1, false: 2}[c.isFile || c.want == ""]; len(faults) != want {
			t.Errorf("%s: %d faults, want %d: %.1000q", name, len(faults), want, all)
		}
		if used > slowness*1e9 {
			t.Errorf("%s: took %v of a processor", name, used)
		}
	}
}

func many(n int, rule func(name, when string) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(rule(fmt.Sprint("r", i), fmt.Sprint("avg(meter1.temp, 5m) > ", i)))
	}
	return b.String()
}

// long returns n rules, each of them as long as a condition may be.
func long(n int, rule func(name, when string) string) string {
	var b strings.Builder
	for i := range n {
		when := fmt.Sprintf("p99(meter1.temp, %dd) > 1", i+1)
		b.WriteString(rule(fmt.Sprint("r", i), strings.Repeat("(", 2030)+when+strings.Repeat(")", 2030)))
	}
	return b.String()
}

// repeated returns format for each number from first to last.
func repeated(format string, first, last int) (out string) {
	for i := first; i <= last; i++ {
		out += fmt.Sprintf(format, i)
	}
	return out
}
