#!/bin/sh
# Installs Tidegate from an unpacked release, or takes it away again. It can be run as often as you like, and says what it does.
#
#   sudo ./install.sh              install, or bring an older installation up to date
#   sudo ./install.sh uninstall    stop and remove the program; configuration and stored readings stay
#   sudo ./install.sh purge        remove these and the user as well
#
# It puts
#   tidegate, tidegate-launch, release.json
#                       into /usr/local/lib/tidegate, which only root can write: what updates bring lies in /var/lib/tidegate
#   a link to tidegate  into /usr/local/bin
#   the units           into /etc/systemd/system   (service, and the timer that ends trials of updates)
#   60-tidegate.rules   into /etc/udev/rules.d      (who may use GPIO lines and I2C buses; quick USB adapters)
#   tidegate.yaml       into /etc/tidegate          (only if there is none: it never overwrites a configuration)
#   manual pages        into /usr/local/share/man/man1
#   bash completion     into /usr/local/share/bash-completion/completions
# and makes the user tidegate, in the groups dialout, gpio and i2c. State is kept in /var/lib/tidegate.
#
# For a dry look at where things go, set ROOT to an empty folder: ROOT=/tmp/look ./install.sh
set -eu

ROOT=${ROOT:-}
here=$(cd "$(dirname "$0")" && pwd)
lib=$ROOT/usr/local/lib/tidegate
bin=$ROOT/usr/local/bin/tidegate
units=$ROOT/etc/systemd/system
rules=$ROOT/etc/udev/rules.d/60-tidegate.rules
conf=$ROOT/etc/tidegate/tidegate.yaml
state=$ROOT/var/lib/tidegate
man=$ROOT/usr/local/share/man/man1
completion=$ROOT/usr/local/share/bash-completion/completions/tidegate

say() { echo "install: $*"; }
fail() {
	echo "install: $*" >&2
	exit 1
}

# live is true when this machine itself is changed, not a folder.
live() { [ -z "$ROOT" ]; }

# systemd is true when systemd runs here.
systemd() { live && [ -d /run/systemd/system ]; }

# check_machine refuses a release that was made for another processor. The file "target" in the release names it.
check_machine() {
	target=$(cat "$here/target") || fail "$here/target is missing: unpack the release again"
	machine=$(uname -m)
	case $machine in
	x86_64) runs="linux-amd64" ;;
	aarch64) runs="linux-arm64 linux-armv7 linux-armv6" ;;
	armv8l | armv7l) runs="linux-armv7 linux-armv6" ;;
	armv6l) runs="linux-armv6" ;;
	*) runs="" ;;
	esac
	case " $runs " in
	*" $target "*) ;;
	*) fail "this release is for $target, but this machine is $machine, which runs: ${runs:-none of the releases}" ;;
	esac
	# A 64-bit kernel may carry a 32-bit system (Raspberry Pi OS 32-bit on a Pi 4): what counts is whether the program starts.
	"$here/tidegate" version >/dev/null || fail "$here/tidegate does not start on this machine (release for $target, machine $machine)"
	say "release for $target fits this machine ($machine)"
}

# put copies file $1 to $2 with mode $3, by way of a new file, so that a running program is not disturbed. It says nothing new
# when the file is there already.
put() {
	if cmp -s "$1" "$2"; then
		say "$2 is up to date"
		return 0
	fi
	mkdir -p "$(dirname "$2")"
	cp "$1" "$2.new"
	chmod "$3" "$2.new"
	sync "$2.new"
	mv "$2.new" "$2"
	say "wrote $2"
}

make_user() {
	for g in dialout gpio i2c; do
		if ! getent group "$g" >/dev/null; then
			groupadd --system "$g"
			say "made group $g"
		fi
	done
	if ! getent passwd tidegate >/dev/null; then
		useradd --system --user-group --home-dir /var/lib/tidegate --no-create-home --shell /usr/sbin/nologin \
			--comment "Tidegate edge gateway" tidegate
		say "made user tidegate"
	fi
	for g in dialout gpio i2c; do
		case " $(id -nG tidegate) " in
		*" $g "*) ;;
		*)
			usermod --append --groups "$g" tidegate
			say "put user tidegate into group $g"
			;;
		esac
	done
}

# check_package refuses to work beside the Debian package, whose files these would hide.
check_package() {
	if live && [ "$(dpkg-query --show --showformat='${db:Status-Status}' tidegate 2>/dev/null || true)" = installed ]; then
		fail "the package tidegate is installed: bring it up to date by apt-get, or take it away first (apt-get remove tidegate)"
	fi
}

# put_unit writes unit $1 with the paths of this installation.
put_unit() {
	sed '/^Exec/s#/usr/lib/tidegate#/usr/local/lib/tidegate#g' "$here/$1" >"$work"
	put "$work" "$units/$1" 644
}

install_all() {
	check_machine
	check_package
	if live; then
		[ "$(id -u)" -eq 0 ] || fail "must be root: sudo $0"
		make_user
	fi
	put "$here/tidegate" "$lib/tidegate" 755
	put "$here/tidegate-launch" "$lib/tidegate-launch" 755
	put "$here/release.json" "$lib/release.json" 644
	# Earlier releases had the program itself there.
	mkdir -p "$(dirname "$bin")"
	ln -s ../lib/tidegate/tidegate "$bin.new"
	mv -T "$bin.new" "$bin"
	put "$here/60-tidegate.rules" "$rules" 644
	work=$(mktemp)
	trap 'rm -f "$work"' EXIT
	for u in tidegate.service tidegate-expire.service tidegate-expire.timer; do
		put_unit "$u"
	done
	rm -f "$man"/tidegate*.1 # a command may be gone
	"$bin" man "$man"
	mkdir -p "$(dirname "$completion")"
	"$bin" completion bash >"$completion"
	say "wrote manual pages to $man, bash completion to $completion"
	fresh=no
	if [ -e "$conf" ]; then
		say "$conf is there and stays as it is"
	else
		put "$here/tidegate.yaml" "$conf" 640
		fresh=yes
	fi
	mkdir -p "$state"
	if live; then
		chgrp tidegate /etc/tidegate "$conf"
		chmod 750 /etc/tidegate
		chown tidegate:tidegate "$state"
		chmod 750 "$state"
	fi
	if systemd; then
		udevadm control --reload
		udevadm trigger --subsystem-match=gpio --subsystem-match=i2c-dev --subsystem-match=usb-serial
		systemctl daemon-reload
		start "$fresh"
	elif live; then
		say "systemd does not run here: start it with: tidegate run --config $conf"
	fi
	say "done"
}

# start lets the service begin, or begin anew, but never with a configuration that nobody has looked at.
start() {
	systemctl enable --quiet tidegate tidegate-expire.timer
	systemctl restart tidegate-expire.timer
	if [ "$1" = yes ]; then
		say "now tell $conf what to read and where to send it, then:"
		say "  sudo tidegate check"
		say "  sudo tidegate devices --write && sudo systemctl daemon-reload"
		say "  sudo systemctl start tidegate"
		return 0
	fi
	if ! "$bin" check --config "$conf"; then
		fail "$conf has faults, see above; the service was not restarted"
	fi
	"$bin" devices --config "$conf" --write
	systemctl daemon-reload
	systemctl restart tidegate
	say "tidegate runs: see systemctl status tidegate, tidegate status"
}

uninstall() {
	if live; then
		[ "$(id -u)" -eq 0 ] || fail "must be root: sudo $0 $1"
	fi
	if systemd && [ -e "$units/tidegate.service" ]; then
		if [ -e "$units/tidegate-expire.timer" ]; then # releases before it had none
			systemctl disable --quiet --now tidegate-expire.timer
		fi
		systemctl disable --quiet --now tidegate
		say "stopped tidegate"
	fi
	for f in "$units/tidegate.service" "$units/tidegate-expire.service" "$units/tidegate-expire.timer" "$units/tidegate.service.d/devices.conf" \
		"$rules" "$bin" "$lib/tidegate" "$lib/tidegate-launch" "$lib/release.json" "$completion"; do
		if [ -e "$f" ] || [ -L "$f" ]; then
			rm "$f"
			say "removed $f"
		fi
	done
	for d in "$units/tidegate.service.d" "$lib"; do
		if [ -d "$d" ]; then
			rmdir --ignore-fail-on-non-empty "$d"
		fi
	done
	if [ -e "$man/tidegate.1" ]; then
		rm "$man"/tidegate*.1
		say "removed the manual pages from $man"
	fi
	if systemd; then
		systemctl daemon-reload
		udevadm control --reload
	fi
	if [ "$1" = uninstall ]; then
		say "kept $conf, $state and the user tidegate; \"purge\" removes them"
		return 0
	fi
	rm -rf "$ROOT/etc/tidegate" "$state" "$ROOT/run/tidegate"
	say "removed $ROOT/etc/tidegate, $state, $ROOT/run/tidegate"
	if live && getent passwd tidegate >/dev/null; then
		userdel tidegate
		say "removed user tidegate; the groups stay, others may use them"
	fi
}

case ${1:-install} in
install) install_all ;;
uninstall | purge) uninstall "$1" ;;
*) fail "unknown word \"$1\"; usage: $0 [install|uninstall|purge]" ;;
esac
