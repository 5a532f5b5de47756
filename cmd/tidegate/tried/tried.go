// Package tried tells what became of files of cases: of rules that were tried on written readings.
package tried

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules/cases"
)

// A Teller tries files of cases and tells what became of them.
type Teller struct {
	Configuration func() (*config.Config, error)  // the gateway's; called where a file has not all that it needs
	Progress      func(what string) (done func()) // shows that something goes on
	Out           io.Writer                       // results
	Err           io.Writer                       // what is wrong with the files themselves
	Colours       bool                            // Out shows colours
	AsJSON        bool                            // a line of JSON for each file
}

// Files tries the cases in the files at paths, and returns whether all is as wanted.
func (t *Teller) Files(paths []string) (good bool, err error) {
	good = true
	for _, path := range paths {
		one, err := t.file(path)
		if err != nil {
			return false, err
		}
		good = good && one
	}
	return good, nil
}

func (t *Teller) file(path string) (good bool, err error) {
	text, refusal := strict.ReadFile(path, strict.Public, strict.MaxBytes)
	if refusal != nil {
		doc := strict.New(path)
		doc.Refuse("", refusal)
		return false, t.faults(doc.Faults())
	}
	done := t.Progress("trying " + path)
	result, faults, err := cases.Run(path, text, t.Configuration)
	done()
	if err := t.faults(faults); err != nil {
		return false, err
	}
	switch {
	case err != nil || result == nil:
		return false, err
	case t.AsJSON:
		return result.Good, json.NewEncoder(t.Out).Encode(result)
	}
	return result.Good, result.Write(t.Out, t.Colours)
}

func (t *Teller) faults(list []config.Fault) error {
	for _, f := range list {
		if _, err := fmt.Fprintln(t.Err, f); err != nil {
			return err
		}
	}
	return nil
}
