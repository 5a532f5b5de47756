#!/bin/bash
# Installs the emulators where they are missing, fetches Debian's kernels for these architectures, and unpacks them under DIR. They are not
# installed: apt looks for them by lists of its own under DIR, which leaves this machine's lists and architectures as they are.
#
#     kernels.sh DIR [ARCH...]     amd64, arm64 or armhf; both ARM ones where none is named
set -euo pipefail
dir=$(realpath -m "${1:?usage: kernels.sh DIR [ARCH...]}")
shift
[ $# -ne 0 ] || set -- arm64 armhf
log=$dir/apt.log

# stop says what went wrong, and what apt said last.
stop() {
	echo "kernels.sh: $*; apt said:" >&2
	tail -n 5 "$log" >&2
	exit 1
}

mkdir -p "$dir"
: >"$log"
sudo=()
if [ "$(id -u)" -ne 0 ]; then
	sudo=(sudo)
fi

packages=()
needs=(xz:xz-utils)
case " $* " in *" arm"*) needs+=(qemu-system-arm:qemu-system-arm fdtput:device-tree-compiler) ;; esac
case " $* " in *" amd64 "*) needs+=(qemu-system-x86_64:qemu-system-x86) ;; esac
for need in "${needs[@]}"; do
	command -v "${need%%:*}" >/dev/null || packages+=("${need##*:}")
done
install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}")
if [ ${#packages[@]} -ne 0 ] && ! "${install[@]}" >>"$log" 2>&1; then
	"${sudo[@]}" apt-get update -qq >>"$log" 2>&1 || true # what counts is the install
	"${install[@]}" >>"$log" 2>&1 || stop "cannot install ${packages[*]}"
fi

# fetch ARCH META: the kernel that the package META depends on, to DIR/ARCH.
fetch() {
	local arch=$1 meta=$2 package to=$dir/$1
	if [ -e "$to/complete" ]; then
		return
	fi
	rm -rf "$to" "$to.apt"
	mkdir -p "$to.apt/lists/partial" "$to.apt/cache"
	: >"$to.apt/status"
	local apt=(
		-o Dir::State::Lists="$to.apt/lists" -o Dir::State::Status="$to.apt/status" -o Dir::Cache="$to.apt/cache"
		-o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User= -o Acquire::Languages=none
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Retries=3
	)
	# A list that does not come (a mirror in the middle of an update) must not stop us: what counts is whether the kernel does.
	apt-get "${apt[@]}" update >>"$log" 2>&1 || true
	package=$(apt-cache "${apt[@]}" depends "$meta" 2>>"$log" | awk '/Depends: linux-image-/ {print $2; exit}') || true
	if [ -z "$package" ]; then
		stop "no package $meta for $arch on this machine's mirrors"
	fi
	(cd "$to.apt" && apt-get "${apt[@]}" download "$package" >>"$log" 2>&1) || stop "cannot fetch $package for $arch"
	echo "kernels.sh: fetched $(basename "$to.apt"/*.deb), $(($(stat -c %s "$to.apt"/*.deb) / 1000000)) MB"
	dpkg-deb -x "$to.apt"/*.deb "$to"
	rm -rf "$to.apt"
	touch "$to/complete"
}

for arch in "$@"; do
	case $arch in
	amd64) fetch amd64 linux-image-cloud-amd64 ;;
	arm64) fetch arm64 linux-image-arm64 ;;
	armhf) fetch armhf linux-image-armmp ;;
	*) stop "no kernel is known for $arch" ;;
	esac
done
