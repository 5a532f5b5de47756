package tidegate

import "fmt"

// MaxName is the longest name of a device, channel, rule or uplink, in bytes.
const MaxName = 64

// CheckName reports what is wrong with s as the name of a device, channel, rule, uplink or gateway: names are 1 to MaxName of
// the characters A-Z a-z 0-9 . _ - (they become parts of topics and SenML names, RFC 8428 section 4.5.1), and do not begin
// with "_", which is the gateway's own.
func CheckName(s string) error {
	if s == "" {
		return fmt.Errorf("name is empty")
	}
	if len(s) > MaxName {
		return fmt.Errorf("name is %d bytes long, at most %d are allowed", len(s), MaxName)
	}
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
		case r == '_' && i > 0:
		case r == '_':
			return fmt.Errorf("name begins with %q, which is reserved for the gateway itself", "_")
		default:
			return fmt.Errorf("name contains %q, allowed are A-Z a-z 0-9 . _ -", r)
		}
	}
	return nil
}
