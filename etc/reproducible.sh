#!/bin/bash
# Builds the programs of the commit that is checked out twice, from clones in two folders, and compares the bytes:
#   reproducible.sh PROGRAMS TARGETS      for instance "tidegate tidegate-release" "linux-amd64 linux-arm64"
# Each build has a cache of its own, so that nothing is built once only; with SHARED=1 both take go's, which is the fast way: each package is
# compiled once (go keeps the two apart where a path gets into it), and linked twice.
set -euo pipefail
read -ra programs <<<"$1"
read -ra targets <<<"$2"
here=$(git rev-parse --show-toplevel)
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
if [ -n "$(git -C "$here" status --porcelain)" ]; then
	echo "reproducible: what is not committed is left out" >&2
fi
folders=("$tmp/one" "$tmp/another folder/quite far away")
for folder in "${folders[@]}"; do
	git clone -q "$here" "$folder" # all of it, as the version comes from tags
	git -C "$folder" checkout -q --detach "$(git -C "$here" rev-parse HEAD)"
	if [ -z "${SHARED-}" ]; then
		GOCACHE=$(mktemp -d -p "$tmp")
		export GOCACHE
	fi
	make -C "$folder" --no-print-directory PROGRAMS="${programs[*]}" "${targets[@]/#/cross-}" >&2
done
status=0
for target in "${targets[@]}"; do
	for program in "${programs[@]}"; do
		one=$(sha256sum <"${folders[0]}/dist/$target/$program")
		another=$(sha256sum <"${folders[1]}/dist/$target/$program")
		if [ "$one" = "$another" ]; then
			echo "same $target $program ${one%% *}"
		else
			echo "DIFFERENT $target $program ${one%% *} ${another%% *}"
			status=1
		fi
		if grep -qaF "$tmp" "${folders[0]}/dist/$target/$program"; then
			echo "DIFFERENT $target $program: it names the folder that it was built in"
			status=1
		fi
	done
done
exit $status
