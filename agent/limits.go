package agent

import (
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/quota"
)

// limits returns the configuration's limits as the queue takes them.
func limits(b *config.Buffer) buffer.Limits {
	overflow := map[string]quota.Overflow{"drop-newest": quota.DropNewest, "thin": quota.Thin}
	l := buffer.Limits{MaxBytes: int64(b.MaxBytes), MaxShare: b.MaxShare, Keep: time.Duration(b.Keep), MaxAge: time.Duration(b.MaxAge)}
	for class, c := range map[tidegate.Class]*config.Class{
		tidegate.ClassAlarm: &b.Classes.Alarm, tidegate.ClassAudit: &b.Classes.Audit, tidegate.ClassReading: &b.Classes.Reading, tidegate.ClassDebug: &b.Classes.Debug,
	} {
		l.Classes[class] = quota.Class{Percent: c.Quota, Overflow: overflow[c.Overflow]}
	}
	return l
}
