package drivers

import "testing"

func TestSettingsSayWhatDevicesOnOnePortMustAgreeOn(t *testing.T) {
	for want, change := range map[string]func(*Serial){
		"9600 8N1":                       func(*Serial) {},
		"19200 8E2":                      func(s *Serial) { s.Baud, s.Parity, s.StopBits = 19200, "even", "2" },
		"9600 8?1":                       func(s *Serial) { s.Parity = "" },
		"9600 8N1, rs485 kernel":         func(s *Serial) { s.Direction = "kernel" },
		"9600 8N1, echo":                 func(s *Serial) { s.Echo = true },
		"9600 8N1, rs485 GPIO17, echo":   func(s *Serial) { s.Direction, s.Echo = "GPIO17", true },
		"9600 8N1, rs485 gpiochip0:17":   func(s *Serial) { s.Direction = "gpiochip0:17" },
		"300 7M1, rs485 rts-low":         func(s *Serial) { s.Baud, s.DataBits, s.Parity, s.Direction = 300, 7, "mark", "rts-low" },
		"9600 8N1, rs485 rts-low, echo":  func(s *Serial) { s.Direction, s.Echo = "rts-low", true },
		"115200 8N1, rs485 kernel, echo": func(s *Serial) { s.Baud, s.Direction, s.Echo = 115200, "kernel", true },
		"4000000 5S2, rs485 rts": func(s *Serial) {
			*s = Serial{Baud: 4000000, DataBits: 5, Parity: "space", StopBits: "2", Direction: "rts"}
		},
	} {
		s := Serial{Port: "/dev/ttyS0", Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"}
		change(&s)
		if got := s.Settings(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
