package modbus

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate/drivers"
)

// location is a parsed address setting.
type location struct {
	isSerial bool
	name     string         // host:port, or the path of the serial port: as technicians know it
	serial   drivers.Serial // where isSerial
}

var errAddress = errors.New("want tcp://host:port or rtu:///dev/ttyUSB0?baud=9600&parity=even")

// parseAddress reads tcp://host:port and rtu:///path?settings. Its errors name what is wrong, without the address.
func parseAddress(s string) (location, error) {
	u, err := url.Parse(s)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return location{}, fmt.Errorf("%w; %w", err, errAddress)
	}
	switch u.Scheme {
	case "tcp":
		return parseTCP(u)
	case "rtu":
		return parseRTU(u)
	}
	return location{}, errAddress
}

func parseTCP(u *url.URL) (location, error) {
	switch {
	case u.Hostname() == "":
		return location{}, errors.New("no host; write tcp://host:port")
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return location{}, errors.New("nothing but host and port belongs into a TCP address; the unit is a setting of its own")
	}
	port := u.Port()
	if port == "" {
		port = "502"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return location{}, fmt.Errorf("port is %s, want 1 to 65535", port)
	}
	return location{name: net.JoinHostPort(u.Hostname(), port)}, nil
}

// parseRTU reads the settings of a serial line. What is not said is as in "MODBUS over Serial Line V1.02" section 2.5.1:
// even parity and 1 stop bit, or no parity and 2 stop bits; 19200 bit/s (section 3.2).
func parseRTU(u *url.URL) (location, error) {
	if u.Host != "" {
		return location{}, fmt.Errorf("the path needs three slashes; write rtu:///%s", strings.TrimPrefix(u.Host+u.Path, "/"))
	}
	if !strings.HasPrefix(u.Path, "/") || u.Path == "/" || u.Fragment != "" {
		return location{}, errors.New("no serial port; write rtu:///dev/ttyUSB0")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return location{}, fmt.Errorf("settings after the question mark: %w", err)
	}
	s := drivers.Serial{Port: u.Path, Baud: 19200, DataBits: 8, Parity: "even", StopBits: "1"}
	keys := make([]string, 0, len(query))
	for k := range query {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if len(query[k]) > 1 {
			return location{}, fmt.Errorf("%s is set %d times", k, len(query[k]))
		}
		if err := setSerial(&s, k, query.Get(k)); err != nil {
			return location{}, err
		}
	}
	if s.Parity == "none" && !query.Has("stop") {
		s.StopBits = "2"
	}
	return location{isSerial: true, name: s.Port, serial: s}, nil
}

func setSerial(s *drivers.Serial, key, text string) error {
	switch key {
	case "baud":
		n, err := strconv.Atoi(text)
		if err != nil || n < 50 || n > 4_000_000 {
			return fmt.Errorf("baud is %q, want 50 to 4000000", text)
		}
		s.Baud = n
	case "parity":
		if text != "none" && text != "even" && text != "odd" {
			return fmt.Errorf("parity is %q, want none, even or odd", text)
		}
		s.Parity = text
	case "stop":
		if text != "1" && text != "2" {
			return fmt.Errorf("stop is %q, want 1 or 2", text)
		}
		s.StopBits = text
	case "data":
		if text != "8" {
			return fmt.Errorf("data is %q, but RTU frames need 8 bits", text)
		}
	case "rs485":
		if !isDirection(text) {
			return fmt.Errorf("rs485 is %q, want kernel, rts, rts-low, or a GPIO line as GPIO17 or gpiochip0:17", text)
		}
		s.Direction = text
	case "echo":
		if text != "yes" && text != "no" {
			return fmt.Errorf("echo is %q, want yes or no", text)
		}
		s.Echo = text == "yes"
	default:
		return fmt.Errorf("%q is no setting of a serial line, want baud, parity, stop, data, rs485 or echo", key)
	}
	return nil
}

// isTurnedByPin reports whether a GPIO line turns the RS-485 line.
func (a location) isTurnedByPin() bool {
	switch a.serial.Direction {
	case "", "kernel", "rts", "rts-low":
		return false
	}
	return true
}

// words matches what can only be meant as a word: names of GPIO lines have a capital letter or a number.
var words = regexp.MustCompile(`^[a-z-]*$`)

// isDirection reports whether text is a way to turn an RS-485 line: see drivers.Serial.Direction.
func isDirection(text string) bool {
	switch text {
	case "kernel", "rts", "rts-low":
		return true
	case "":
		return false
	}
	lower := strings.ToLower(text)
	return !words.MatchString(text) && lower != "kernel" && lower != "rts" && lower != "rts-low" && !strings.ContainsAny(text, " \t")
}
