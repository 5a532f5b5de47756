#!/bin/bash
# Installs the emulators, fetches Debian's ARM kernels and unpacks them under DIR, without installing them.
#
#     kernels.sh DIR
set -euo pipefail
dir=${1:?usage: kernels.sh DIR}
sudo=()
if [ "$(id -u)" -ne 0 ]; then
	sudo=(sudo)
fi
mkdir -p "$dir"

packages=()
for need in qemu-system-arm:qemu-system-arm fdtput:device-tree-compiler xz:xz-utils; do
	command -v "${need%%:*}" >/dev/null || packages+=("${need##*:}")
done
if [ ${#packages[@]} -ne 0 ]; then
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
fi

# An index that does not come (a mirror in the middle of an update) must not stop us: what counts is whether the kernel does.
lists() { "${sudo[@]}" apt-get update -qq || true; }

# The package that META depends on.
image() { apt-cache depends "$1" 2>/dev/null | awk '/Depends: linux-image-/ {print $2; exit}'; }

fetch() {
	local arch=$1 meta=$2:$1 package to=$dir/$1
	if [ -e "$to/complete" ]; then
		return
	fi
	if [ "$arch" != "$(dpkg --print-architecture)" ] && ! dpkg --print-foreign-architectures | grep -qx "$arch"; then
		"${sudo[@]}" dpkg --add-architecture "$arch"
		lists
	fi
	package=$(image "$meta")
	if [ -z "$package" ]; then
		lists
		package=$(image "$meta")
	fi
	if [ -z "$package" ]; then
		echo "kernels.sh: no package for $meta" >&2
		exit 1
	fi
	case $package in *:*) ;; *) package=$package:$arch ;; esac
	rm -rf "$to" "$to.deb"
	mkdir -p "$to.deb"
	(cd "$to.deb" && apt-get download -qq "$package" 2>/dev/null)
	dpkg-deb -x "$to.deb"/*.deb "$to"
	rm -rf "$to.deb"
	touch "$to/complete"
	echo "kernels.sh: unpacked $package"
}

fetch arm64 linux-image-arm64
fetch armhf linux-image-armmp
