package all

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
	"github.com/tidegate-io/tidegate/drivers/modbus"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// machines says, for each driver, which machine its sample configuration finds a good device on.
func machines() map[string]conformance.Options {
	return map[string]conformance.Options{
		"ads1x15":    {Far: ads1115},
		"bme280":     {Far: bme280Part},
		"i2cmap":     {Far: tmp105, IsUnchecked: true},
		"ina219":     {Far: ina219Part},
		"ds18b20":    {Far: thermometers},
		"external":   {IsReal: true}, // its sample's program is on every machine
		"gpio":       {Far: header, Reads: 10},
		"modbus":     {Far: modbusUnit},
		"nmea":       {Far: receiver},
		"pms5003":    {Far: dust},
		"serialtext": {Far: talker, IsUnchecked: true},
		"sim":        {},
		"system":     {Far: files},
	}
}

// header is that of a Raspberry Pi, with a door that opens and shuts, a wind of 1 Hz, and the rest at rest.
func header(h *drivertest.Host) {
	h.Pins = map[string]*drivertest.Pin{
		"GPIO17": {Every: 300 * time.Millisecond}, "GPIO22": {Every: 500 * time.Millisecond}, "GPIO23": {Input: true}, "GPIO24": {}, "GPIO27": {},
	}
}

// modbusUnit is unit 1 on any line: every register holds its own address, every bit is that of its address, and what is written is kept.
func modbusUnit(h *drivertest.Host) {
	modbusFar(h, func(s *slave.Slave, far net.Conn) error { return s.ServeRTU(context.Background(), far) })
}

// modbusFar is that unit behind serve.
func modbusFar(h *drivertest.Host, serve func(s *slave.Slave, far net.Conn) error) {
	bank := &slave.Bank{Under: func(q slave.Request, out []uint16) slave.Exception {
		for i := range out {
			out[i] = q.Address + uint16(i)
			if q.Table == slave.Coils || q.Table == slave.Discretes {
				out[i] &= 1
			}
			if q.Table == slave.Holdings && q.Address+uint16(i) == 40 {
				out[i] = 1 // the sample's enum knows 0 to 2
			}
		}
		return slave.NoException
	}}
	s := &slave.Slave{Units: []byte{1}, Values: bank.Values, Write: bank.Write}
	h.Ports = map[string]drivertest.Opener{drivertest.Any: func(context.Context) (drivers.Port, error) {
		near, far := net.Pipe()
		go func() { _ = serve(s, far) }() // ends with the pipe
		return near, nil
	}}
}

func talker(h *drivertest.Host) {
	h.Ports = map[string]drivertest.Opener{
		drivertest.Any: drivertest.Says(200*time.Millisecond, "T=20.5 N=0\r\n", "T=5.5 N=1\r\n", "T=-9.5 N=2\r\n"),
	}
}

// thermometers are those of the sample, on the kernel's bus.
func thermometers(h *drivertest.Host) {
	m := fstest.MapFS{}
	for id, text := range map[string]string{
		"28-0316a2795bff": "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n",
		"28-0417c1b3aeff": "5e ff 4b 46 7f ff 02 10 b6 : crc=b6 YES\n5e ff 4b 46 7f ff 02 10 b6 t=-10125\n",
	} {
		m["sys/bus/w1/devices/"+id+"/w1_slave"] = &fstest.MapFile{Data: []byte(text)}
	}
	h.FS = m
}

// receiver is a GNSS receiver that has the same fix every second.
func receiver(h *drivertest.Host) {
	h.Ports = map[string]drivertest.Opener{drivertest.Any: drivertest.Says(
		500*time.Millisecond,
		"$GPRMC,123519,A,4807.038,N,01131.000,E,022.4,084.4,281126,003.1,W*6B\r\n",
		"$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n",
	)}
}

// dust is a particle counter in clean air.
func dust(h *drivertest.Host) {
	h.Ports = map[string]drivertest.Opener{drivertest.Any: drivertest.Says(
		800*time.Millisecond,
		"BM\x00\x1c\x00\x00\x00\x08\x00\x08\x00\x00\x00\x08\x00\x08\x00\xd2\x00\x46\x00\x2d\x00\x1e\x00\x00\x00\x00\x97\x00\x02\xc5",
		"BM\x00\x1c\x00\x00\x00\x05\x00\x05\x00\x00\x00\x05\x00\x05\x00\x8a\x00\x2e\x00\x17\x00\x0f\x00\x00\x00\x00\x97\x00\x02\x34",
	)}
}

// files are those of a small board.
func files(h *drivertest.Host) {
	m := fstest.MapFS{}
	for name, text := range map[string]string{
		"proc/loadavg":                         "0.52 0.58 0.59 1/977 12345\n",
		"proc/uptime":                          "350735.47 234388.90\n",
		"proc/meminfo":                         "MemTotal: 948304 kB\nMemFree: 100000 kB\nMemAvailable: 500000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
		"proc/stat":                            "cpu  100 0 50 1000 10 0 5 0 0 0\n",
		"sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
		"sys/class/thermal/thermal_zone0/temp": "48312\n",
	} {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	h.FS = m
}

func TestConformance(t *testing.T) {
	of := machines()
	for _, d := range Drivers() {
		o, ok := of[d.Name]
		if !ok {
			t.Errorf("driver %s has no machine; add one to machines in drivers/all/all_test.go", d.Name)
			continue
		}
		t.Run(d.Name, func(t *testing.T) { conformance.Run(t, d, o) })
	}
}

// TestConformanceOfModbusTCP has the driver's other half: frames without a checksum, over a connection.
func TestConformanceOfModbusTCP(t *testing.T) {
	d := modbus.Driver
	serial := "rtu:///dev/ttyUSB0?baud=9600&parity=even"
	d.Sample = strings.Replace(d.Sample, serial, "tcp://192.0.2.7:502", 1)
	if strings.Contains(d.Sample, serial) {
		t.Fatal("the sample has another address")
	}
	conformance.Run(t, d, conformance.Options{Far: func(h *drivertest.Host) {
		modbusFar(h, func(s *slave.Slave, far net.Conn) error { return s.ServeTCP(context.Background(), far) })
	}})
}

func TestDriversAreSortedAndUnique(t *testing.T) {
	var names []string
	for _, d := range Drivers() {
		names = append(names, d.Name)
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	if !slices.Equal(names, sorted) {
		t.Errorf("got %s, want %s", strings.Join(names, " "), strings.Join(sorted, " "))
	}
}
