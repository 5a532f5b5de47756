#!/bin/bash
# Lays out the folder of a new driver: the level gauge that drivers/README.md writes, complete with its tests, under another name. Change it
# from there on, step by step as the README says.
#
#     etc/driver.sh NAME [DIR]     DIR: where the folder is made, default drivers/NAME
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:?usage: etc/driver.sh NAME [DIR]; with make: make driver NAME=name}
dir=${2:-drivers/$name}
source=drivers/drivertest/conformance/readme_test.go

if ! [[ $name =~ ^[a-z][a-z0-9]*$ ]]; then
	echo "driver.sh: a driver is called like its folder, which is a Go package: lower case letters and digits, a letter first (got $name)" >&2
	exit 1
fi
if [ -e "$dir" ]; then
	echo "driver.sh: $dir is there already" >&2
	exit 1
fi
mkdir -p "$dir"

# Lines from the one that begins with $1 to the one before that which begins with $2.
part() { awk -v from="$1" -v to="$2" 'index($0, to) == 1 {exit} index($0, from) == 1 {on = 1} on' $source; }

{
	cat <<END
// Package $name reads ... SAY HERE: which device, its data sheet (title, number, revision), how it is wired, what it needs, what this driver does
// not do, and what its data sheet has wrong.
package $name

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

END
	part "// Driver reads" "func TestRead" | sed "s/Name: \"level\"/Name: \"$name\"/; s/driver: level/driver: $name/"
} >"$dir/$name.go"
{
	cat <<END
package $name

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

END
	part "func TestRead(" "// TestReadmeIsTrue" | sed 's/\tRun(t, Driver, Options{/\tconformance.Run(t, Driver, conformance.Options{/'
} >"$dir/${name}_test.go"
gofmt -w "$dir"

cat <<END
$dir is a driver that works, of a level gauge: go test -race ./$dir
Make it yours with drivers/README.md, then put it on the list: $name.Driver in drivers/all/all.go, its machine in drivers/all/all_test.go.
END
