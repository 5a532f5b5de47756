package rules

import (
	"errors"
	"fmt"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// check says what is wrong with r, beside what only all rules together show.
func (s *Set) check(r Rule) error {
	if err := tidegate.CheckName(r.Name); err != nil {
		return err
	}
	if s.byName[r.Name] != nil {
		return errors.New("name stands twice")
	}
	if r.When == nil && (r.For != 0 || r.Clear != nil || r.Severity != "" || len(r.Outputs)+len(r.Snapshots)+len(r.Intervals) > 0 || !r.shapes()) {
		return errors.New("condition `when` is missing")
	}
	if r.For < 0 {
		return fmt.Errorf("`for` is negative (got %v)", r.For)
	}
	if _, ok := r.Severity.number(); !ok {
		return fmt.Errorf("severity is unknown (got %q); severities are info, warning and error", r.Severity)
	}
	if r.Clear != nil && lang.Overlap(r.When, r.Clear) {
		return fmt.Errorf("`clear: %s` holds while `when: %s` holds too", r.Clear.Text, r.When.Text)
	}
	for _, o := range r.Outputs {
		if o.Value.Kind() == tidegate.KindNone {
			return fmt.Errorf("output %s.%s has no value", o.Device, o.Channel)
		}
	}
	return errors.Join(r.checkDerives(), checkAll(r.Filters), checkAll(r.Snapshots), r.checkIntervals(), checkAll(r.Routes), checkAll(r.Labels))
}

// checkAll says what is wrong with the first of list that has a fault.
func checkAll[T any, P interface {
	*T
	Check() error
}](list []T) error {
	for i := range list {
		if err := P(&list[i]).Check(); err != nil {
			return err
		}
	}
	return nil
}
