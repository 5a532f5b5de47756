package release

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tidegate-io/tidegate/ota/strict"
)

// ErrCustom is wrapped by errors about signed fields that cannot be read.
var ErrCustom = errors.New("signed fields of a release")

// Decode reads a File strictly: each field once and by its exact name, no other, nothing null, nothing behind. TUF's canonical JSON, which
// is what the signature covers, has the last of two fields of one name only, so the bytes may not have two.
func Decode(custom []byte) (f File, err error) {
	if err = strict.Decode(custom, &f); err == nil {
		err = f.check()
	}
	if err != nil {
		return File{}, fmt.Errorf("%w: %w", ErrCustom, err)
	}
	return f, nil
}

// Encode returns f as it is signed, if Decode takes it.
func (f File) Encode() ([]byte, error) {
	if f.Hardware == nil {
		f.Hardware = []string{}
	}
	custom, err := json.Marshal(f)
	if err == nil {
		_, err = Decode(custom)
	}
	if err != nil {
		return nil, err
	}
	return custom, nil
}
