package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Telegraf as it is compared with: this release, from its Go module, with only the parts that the work needs.
const (
	telegrafVersion = "v1.37.2"
	telegrafSum     = "h1:mYr0I/suEw9+UM4KrCFuYuzJuq/e99cINniIwqO6ykw="
	telegrafTags    = "custom,inputs.modbus,outputs.mqtt,serializers.json"
)

// A side is one of the two programs that do the same work.
type side struct {
	name    string
	build   []string // arguments of go build
	program string   // where it lies once built
	topics  []string
	decode  func(arrival) ([]reply, error)
	config  func(places) string
	file    string   // name of the configuration file
	args    []string // before the configuration file's path
}

// places are what a configuration names: the slave's address and its serial port, the broker's address, the folder for what is kept.
type places struct{ bus, port, broker, state string }

// build builds both programs, or the one called only unless that is a part of the report, into dir; root is tidegate's tree.
func build(ctx context.Context, root, dir, only string) ([]side, error) {
	all := []side{
		{
			name: "telegraf", build: []string{"-tags", telegrafTags, "./cmd/telegraf"}, topics: []string{"telegraf/#"}, decode: decodeTelegraf,
			config: telegrafConfig, file: "telegraf.conf", args: []string{"--config"},
		},
		{
			name: "tidegate", build: []string{"./cmd/tidegate"}, topics: []string{"tg/v1/gw-bench/up/data", "tg/v1/gw-bench/up/backfill"}, decode: decodeTidegate,
			config: tidegateConfig, file: "tidegate.yaml", args: []string{"run", "--config"},
		},
	}
	var sides []side
	for _, s := range all {
		if only != "" && !isPart(only) && s.name != only {
			continue
		}
		src := root
		if s.name == "telegraf" {
			m, err := fetchTelegraf(ctx)
			if err != nil {
				return nil, err
			}
			src = m.Dir
		}
		s.program = filepath.Join(dir, s.name)
		if err := goBuild(ctx, src, slices.Concat([]string{"-o", s.program}, s.build)...); err != nil {
			return nil, fmt.Errorf("build %s: %w", s.name, err)
		}
		sides = append(sides, s)
	}
	if len(sides) == 0 {
		return nil, fmt.Errorf("there is no %q; there are telegraf, tidegate, %s, %s and %s", only, onlyIdle, onlyRules, onlyBuffer)
	}
	return sides, nil
}

// goBuild runs go build in the folder src, as both sides are built.
func goBuild(ctx context.Context, src string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w"}, args)...)
	cmd.Dir, cmd.Env, cmd.Stderr = src, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly"), os.Stderr
	return cmd.Run()
}

// A module is what go mod download says of one.
type module struct{ Dir, Sum, GoModSum, Error string }

// fetchTelegraf returns where the source of the fixed release lies, its checksum compared with ours.
func fetchTelegraf(ctx context.Context) (m module, err error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", "github.com/influxdata/telegraf@"+telegrafVersion)
	cmd.Dir = os.TempDir() // outside every module
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if jerr := json.Unmarshal(out, &m); jerr != nil {
		return m, fmt.Errorf("download telegraf: %w", errors.Join(err, jerr))
	}
	if err != nil || m.Error != "" {
		return m, fmt.Errorf("download telegraf: %s: %w", m.Error, err)
	}
	if m.Sum != telegrafSum {
		return m, fmt.Errorf("telegraf %s: checksum got %s, want %s", telegrafVersion, m.Sum, telegrafSum)
	}
	return m, nil
}

// telegrafConfig is 10 inputs of 5 requests of 40 UINT32, and Telegraf's own disk buffer.
func telegrafConfig(at places) string {
	var b strings.Builder
	telegrafHead(&b, at, "100ms")
	const inputs = 10
	for i := range inputs {
		telegrafInput(&b, fmt.Sprintf("bus%d", i), fmt.Sprintf("  controller = \"tcp://%s\"\n", at.bus), i*units/inputs+1, (i+1)*units/inputs)
	}
	return b.String()
}

// telegrafHead writes all but the inputs.
func telegrafHead(b *strings.Builder, at places, interval string) {
	fmt.Fprintf(b, `[agent]
  hostname = "gw-bench"
  interval = %q
  flush_interval = "1s"
  metric_batch_size = 1000
  metric_buffer_limit = 1000000
  buffer_strategy = "disk"
  buffer_directory = %q

[[outputs.mqtt]]
  servers = ["tcp://%s"]
  topic = "telegraf/gw-bench"
  qos = 1
  layout = "batch"
  data_format = "json"
  json_timestamp_units = "1ms"
`, interval, at.state, at.broker)
}

// telegrafInput writes one input for the units first to last behind a controller, which is given by its settings.
func telegrafInput(b *strings.Builder, name, controller string, first, last int) {
	fmt.Fprintf(b, "\n[[inputs.modbus]]\n  name = %q\n%s  timeout = \"1s\"\n  configuration_type = \"request\"\n", name, controller)
	for u := first; u <= last; u++ {
		fmt.Fprintf(b, "  [[inputs.modbus.request]]\n    slave_id = %d\n    byte_order = \"ABCD\"\n    register = \"holding\"\n    fields = [\n", u)
		for r := range registers {
			fmt.Fprintf(b, "      {address=%d, name=\"r%d\", type=\"UINT32\"},\n", 2*r, r)
		}
		b.WriteString("    ]\n")
	}
}

// tidegateConfig is the one configuration for all figures under load.
func tidegateConfig(at places) string {
	var b strings.Builder
	b.WriteString(tidegateHead(at) + "  batch: {readings: 5000, every: 200ms}\ndevices:\n")
	for u := 1; u <= units; u++ {
		tidegateDevice(&b, u, "100ms", "tcp://"+at.bus)
	}
	return b.String()
}

// tidegateHead is all but the devices; a line more belongs to the uplink.
func tidegateHead(at places) string {
	return fmt.Sprintf(`gateway: {id: gw-bench}
state_dir: %s
buffer: {sync: 1s}
uplink:
  url: mqtt://%s
  confirm: puback
  compress: gzip
`, at.state, at.broker)
}

// tidegateDevice writes unit u, read every so often.
func tidegateDevice(b *strings.Builder, u int, every, address string) {
	fmt.Fprintf(b, "  - name: u%d\n    driver: modbus\n    every: %s\n    address: %s\n    unit: %d\n    timeout: 1s\n    registers: [{channel: r, table: holding, address: 0, type: uint32, count: %d}]\n",
		u, every, address, u, registers)
}
