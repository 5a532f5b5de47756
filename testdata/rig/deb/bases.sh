#!/bin/bash
# Makes small Debian systems under DIR, of the release that this machine is of and from the mirror that it uses; nothing where they are there
# already. That for amd64 can be booted; that for armhf is finished by the rig, as its programs need an emulator.
#
#     bases.sh DIR ARCH...
set -euo pipefail
dir=$(realpath -m "${1:?usage: bases.sh DIR ARCH...}")
shift
log=$dir/debootstrap.log
mkdir -p "$dir"

packages=()
for need in debootstrap:debootstrap qemu-system-x86_64:qemu-system-x86 qemu-system-aarch64:qemu-system-arm mkfs.ext4:e2fsprogs qemu-arm-static:qemu-user-static; do
	PATH=$PATH:/usr/sbin command -v "${need%%:*}" >/dev/null || packages+=("${need##*:}")
done
install=(env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}")
if [ ${#packages[@]} -ne 0 ] && ! "${install[@]}" >"$log" 2>&1; then
	apt-get update -qq >>"$log" 2>&1 || true # what counts is the install
	if ! "${install[@]}" >>"$log" 2>&1; then
		echo "bases.sh: cannot install ${packages[*]}; apt said:" >&2
		tail -n 5 "$log" >&2
		exit 1
	fi
fi

# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
# shellcheck disable=SC2016 # apt's own variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Codename: $codename" | head -n 1)
if [ -z "$mirror" ]; then
	echo "bases.sh: apt has no list of Debian $codename: apt-get update" >&2
	exit 1
fi
for arch in "$@"; do
	if [ -e "$dir/$arch.complete" ]; then
		continue
	fi
	rm -rf "${dir:?}/$arch"
	options=(--variant=minbase)
	case $arch in
	amd64 | arm64) options+=("--include=adduser,ca-certificates,systemd,systemd-sysv,udev,dbus,kmod,initramfs-tools,linux-image-cloud-$arch") ;;
	*) options+=("--include=adduser,ca-certificates") ;;
	esac
	# This machine's processor runs the programs of its own architecture.
	if [ "$arch" != "$(dpkg --print-architecture)" ]; then
		options+=(--foreign)
	fi
	begin=$SECONDS
	if ! timeout 1200 debootstrap --arch="$arch" "${options[@]}" "$codename" "$dir/$arch" "$mirror" >"$log" 2>&1; then
		echo "bases.sh: debootstrap for $arch failed; it said:" >&2
		tail -n 5 "$log" >&2
		exit 1
	fi
	# The systems are for this machine only, but no name of its mirror needs to stay in them.
	if [ ! -d "$dir/$arch/debootstrap" ]; then
		rm -rf "$dir/$arch"/var/cache/apt/archives/*.deb "$dir/$arch"/var/lib/apt/lists/*
	fi
	touch "$dir/$arch.complete"
	echo "bases.sh: made Debian $codename for $arch in $((SECONDS - begin)) s, $(du -sm "$dir/$arch" | cut -f1) MB"
done
