#!/bin/bash
# Lays out the folder of a new driver, complete with its tests, under another name: the level gauge on a serial port that drivers/README.md
# writes, or with BUS=i2c its hygrometer on an I2C bus. Change it from there on, step by step as the README says.
#
#     [BUS=i2c] etc/driver.sh NAME [DIR]     DIR: where the folder is made, default drivers/NAME
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:?usage: etc/driver.sh NAME [DIR]; with make: make driver NAME=name}
dir=${2:-drivers/$name}
conformance=drivers/drivertest/conformance
case ${BUS:-serial} in
serial)
	source=$conformance/readme_test.go
	like="a level gauge on a serial port"
	needs=(bytes context fmt time)
	tests=(testing testing/synctest)
	;;
i2c)
	source=$conformance/readme_i2c_test.go
	like="a hygrometer on an I2C bus"
	needs=(context fmt time)
	tests=(errors testing testing/synctest - periph.io/x/conn/v3/i2c)
	;;
*)
	echo "driver.sh: a driver is laid out for BUS=serial or BUS=i2c (got $BUS); for other buses take one of them and change Open and Read" >&2
	exit 1
	;;
esac

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

# imports PATH... writes the import of the packages; - is an empty line.
imports() {
	echo "import ("
	printf '\t"%s"\n' "$@" | sed 's/^\t"-"$//'
	echo ")"
	echo
}

{
	cat <<END
// Package $name reads ... SAY HERE: which device, its data sheet (title, number, revision), how it is wired, what it needs, what this driver does
// not do, and what its data sheet has wrong.
package $name

END
	imports "${needs[@]}" - github.com/tidegate-io/tidegate github.com/tidegate-io/tidegate/drivers
	part "// Driver reads" "func TestRead" | sed -E "s/Name: \"(level|hygro)\"/Name: \"$name\"/; s/driver: (level|hygro)/driver: $name/"
} >"$dir/$name.go"
{
	cat <<END
package $name

END
	imports "${tests[@]}" - github.com/tidegate-io/tidegate/drivers/drivertest{,/conformance}
	part "func TestRead(" "// TestReadmeIsTrue" | sed 's/\tRun(t, Driver, Options{/\tconformance.Run(t, Driver, conformance.Options{/'
} >"$dir/${name}_test.go"
gofmt -w "$dir"

cat <<END
$dir is a driver that works, of $like: go test -race ./$dir
Make it yours with drivers/README.md, then put it on the list: $name.Driver in drivers/all/all.go, its machine in drivers/all.
END
