// Command starlark lets Telegraf's processor of that name judge a stream of readings (stream.go). It is built in a module of its own, with
// Telegraf's own requirements; see ../../starlark.go.
package main

import (
	_ "embed"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/influxdata/telegraf"
	"github.com/influxdata/telegraf/logger"
	"github.com/influxdata/telegraf/metric"
	common "github.com/influxdata/telegraf/plugins/common/starlark"
	"github.com/influxdata/telegraf/plugins/processors/starlark"
)

//go:embed rules.star
var script string

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "starlark:", err)
		os.Exit(1)
	}
}

func run() error {
	s, err := parseStream(os.Args[1:])
	if err != nil {
		return err
	}
	j := &processor{Starlark: starlark.Starlark{Common: common.Common{
		Source: script, StarlarkLoadFunc: common.LoadFunc, Log: logger.New("processors", "starlark", ""),
		Constants: map[string]interface{}{"RAISE": float64(raiseAbove), "CLEAR": float64(clearBelow), "LIMIT": float64(averageLimit)},
	}}}
	if err := j.Init(); err != nil {
		return err
	}
	for d := range streamChannels / s.size {
		m := metric.New("modbus", map[string]string{"device": "d" + strconv.Itoa(d)}, nil, streamBegin)
		for i := range s.size {
			m.AddField("r"+strconv.Itoa(i), 0.0)
		}
		j.metrics = append(j.metrics, m)
	}
	return s.run(j)
}

// A processor is Telegraf's, with a metric for each device, and takes what it lets out.
type processor struct {
	starlark.Starlark
	telegraf.Accumulator // of which only AddMetric is called
	metrics              []telegraf.Metric
	told                 []told
}

func (p *processor) put(device int, at time.Time, values []float64) {
	m := p.metrics[device]
	m.SetTime(at)
	for i, f := range m.FieldList() {
		f.Value = values[i]
	}
}

func (p *processor) judge(device int) error { return p.Add(p.metrics[device], p) }

// AddMetric takes what the script returned: the device's metric, which would go on its way, and alarms.
func (p *processor) AddMetric(m telegraf.Metric) {
	if m.Name() != "alarm" {
		return
	}
	t := told{Second: int64(m.Time().Sub(streamBegin) / time.Second)}
	device, _ := m.GetTag("device")
	channel, _ := m.GetTag("channel")
	t.Channel = device + "." + channel
	t.Rule, _ = m.GetTag("rule")
	state, _ := m.GetField("state")
	t.Raised = state == "raised"
	value, _ := m.GetField("value")
	t.Value, _ = value.(float64)
	p.told = append(p.told, t)
}

func (p *processor) answer() answer { return answer{Alarms: p.told} }
