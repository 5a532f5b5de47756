package crash

import "time"

const fullShort = 15 * time.Second
