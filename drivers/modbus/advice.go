package modbus

import (
	"context"
	"fmt"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/doctor"
	"github.com/tidegate-io/tidegate/drivers/modbus/registers"
)

// patient is a unit on a serial line as the doctor knows it.
type patient struct {
	*doctor.Patient
	watched []int // indexes of the device's values that it watches
}

// watch makes the doctor see the first numbers of more than one register among values.
func watch(p *doctor.Patient, values []registers.Value) *patient {
	out := &patient{Patient: p}
	for i := range values {
		order, isFloat, ok := values[i].Order()
		if !ok {
			continue
		}
		if _, ok := p.Watch(doctor.Value{Channel: values[i].Channel, IsFloat: isFloat, Order: order}); ok {
			out.watched = append(out.watched, i)
		}
	}
	return out
}

// note tells the doctor what q was answered.
func (p *patient) note(values []registers.Value, q *request, body []byte) {
	p.Answered()
	for n, i := range p.watched {
		if i >= q.from && i < q.to {
			at := values[i].Address - q.Address
			p.Saw(n, body[2*at:2*(at+values[i].Size)])
		}
	}
}

// Advice says what is likely to be wrong with the unit's line, and what was seen of it; "" = nothing. It is part of drivers.Advisor.
func (d *device) Advice() string {
	if d.patient == nil {
		return ""
	}
	return doctor.Diagnose(d.patient.Case()).Say()
}

// Examine asks the line with other settings and for other units, where its silence can be told from nothing else, and returns Advice then.
// Open's ctx must be done. It takes up to two minutes. It is part of drivers.Advisor.
func (d *device) Examine(ctx context.Context, h drivers.Host) (string, error) {
	if d.patient == nil {
		return "", nil
	}
	diagnosis, err := d.patient.Patient.Examine(ctx, h.Serial)
	if err != nil {
		err = fmt.Errorf("%s: %w", d.where, err)
	}
	return diagnosis.Say(), err
}
