package drivers

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// maxDrop is how much Drop drops before it gives up, in bytes.
const maxDrop = 64 << 10

// Drop reads from p and forgets what it reads, until nothing has come for pause (more than 0): what is left over of earlier frames
// must not be taken for the answer to the next question. It returns nil when the line is quiet; an error when p fails, or when
// 64 KiB came and still no end. It leaves p's read deadline in the past.
func Drop(p Port, pause time.Duration) error {
	b := make([]byte, 256)
	for dropped := 0; dropped <= maxDrop; {
		if err := p.SetReadDeadline(time.Now().Add(pause)); err != nil {
			return err
		}
		n, err := p.Read(b)
		dropped += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("line is never quiet for %v", pause)
}
