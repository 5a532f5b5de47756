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
	// config returns the configuration: the slave's and the broker's address, the folder for what it keeps.
	config func(bus, broker, state string) string
	file   string   // name of the configuration file
	args   []string // before the configuration file's path
}

// build builds both programs, or the one called only, into dir; root is tidegate's tree.
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
		if only != "" && s.name != only {
			continue
		}
		src := root
		if s.name == "telegraf" {
			var err error
			if src, err = fetchTelegraf(ctx); err != nil {
				return nil, err
			}
		}
		s.program = filepath.Join(dir, s.name)
		args := slices.Concat([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", s.program}, s.build)
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir, cmd.Env, cmd.Stderr = src, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly"), os.Stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("build %s: %w", s.name, err)
		}
		sides = append(sides, s)
	}
	if len(sides) == 0 {
		return nil, fmt.Errorf("no side is called %q; there are telegraf and tidegate", only)
	}
	return sides, nil
}

// fetchTelegraf returns where the source of the fixed release lies, its checksum compared with ours.
func fetchTelegraf(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", "github.com/influxdata/telegraf@"+telegrafVersion)
	cmd.Dir = os.TempDir() // outside every module
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var m struct{ Dir, Sum, Error string }
	if jerr := json.Unmarshal(out, &m); jerr != nil {
		return "", fmt.Errorf("download telegraf: %w", errors.Join(err, jerr))
	}
	if err != nil || m.Error != "" {
		return "", fmt.Errorf("download telegraf: %s: %w", m.Error, err)
	}
	if m.Sum != telegrafSum {
		return "", fmt.Errorf("telegraf %s: checksum got %s, want %s", telegrafVersion, m.Sum, telegrafSum)
	}
	return m.Dir, nil
}

// telegrafConfig is 10 inputs of 5 requests of 40 UINT32, and Telegraf's own disk buffer.
func telegrafConfig(bus, broker, state string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `[agent]
  hostname = "gw-bench"
  interval = "100ms"
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
`, state, broker)
	const inputs = 10
	for i := range inputs {
		fmt.Fprintf(&b, "\n[[inputs.modbus]]\n  name = \"bus%d\"\n  controller = \"tcp://%s\"\n  timeout = \"1s\"\n  configuration_type = \"request\"\n", i, bus)
		for u := i*units/inputs + 1; u <= (i+1)*units/inputs; u++ {
			fmt.Fprintf(&b, "  [[inputs.modbus.request]]\n    slave_id = %d\n    byte_order = \"ABCD\"\n    register = \"holding\"\n    fields = [\n", u)
			for r := range registers {
				fmt.Fprintf(&b, "      {address=%d, name=\"r%d\", type=\"UINT32\"},\n", 2*r, r)
			}
			b.WriteString("    ]\n")
		}
	}
	return b.String()
}

// tidegateConfig is the one configuration for all figures.
func tidegateConfig(bus, broker, state string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `gateway: {id: gw-bench}
state_dir: %s
buffer: {sync: 1s}
uplink:
  url: mqtt://%s
  confirm: puback
  compress: gzip
  batch: {readings: 5000, every: 200ms}
devices:
`, state, broker)
	for u := 1; u <= units; u++ {
		fmt.Fprintf(&b, "  - name: u%d\n    driver: modbus\n    every: 100ms\n    address: tcp://%s\n    unit: %d\n    timeout: 1s\n    registers: [{channel: r, table: holding, address: 0, type: uint32, count: %d}]\n",
			u, bus, u, registers)
	}
	return b.String()
}
