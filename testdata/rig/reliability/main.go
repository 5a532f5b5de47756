// Command reliability merges what rigs have measured into RELIABILITY.md, each table between its markers. A table of which parts are missing stays
// as it is, and so does one that nothing was measured for.
//
//	go run ./testdata/rig/reliability
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
	"github.com/tidegate-io/tidegate/testdata/rig/reliability/table"
)

func main() {
	dir := flag.String("from", bed.Results(), "where the rigs leave what they have measured")
	file := flag.String("into", filepath.Join(bed.Root(), "RELIABILITY.md"), "the page")
	flag.Parse()
	if err := run(*dir, *file); err != nil {
		fmt.Fprintln(os.Stderr, "reliability:", err)
		os.Exit(1)
	}
}

// run merges. With an error the page has what there is all the same.
func run(dir, file string) error {
	whole, missing, err := table.Read(dir)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	page := string(text)
	for _, t := range whole {
		if page, err = t.Put(page); err != nil {
			return err
		}
		fmt.Printf("%s: %d rows of commit %.12s\n", t.Name, len(t.Rows), t.Commit)
	}
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		return err
	}
	var wrong []error
	for _, m := range missing {
		wrong = append(wrong, errors.New(m))
	}
	return errors.Join(wrong...)
}
