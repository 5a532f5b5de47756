#!/bin/sh
# Makes the user, says what the service may touch, and starts it, or starts it anew: never with a configuration that nobody has
# looked at, nor into one with faults.
set -e

conf=/etc/tidegate/tidegate.yaml
sample=/usr/share/tidegate/tidegate.yaml

say() { echo "tidegate: $*"; }

# systemd is true when systemd runs here: not in a chroot, nor while an image is built.
systemd() { [ -d /run/systemd/system ]; }

make_user() {
	for g in dialout gpio i2c; do
		getent group $g >/dev/null || addgroup --system --quiet $g
	done
	if ! getent passwd tidegate >/dev/null; then
		adduser --system --group --quiet --home /var/lib/tidegate --no-create-home --gecos "Tidegate edge gateway" tidegate
	fi
	for g in dialout gpio i2c; do
		adduser --quiet tidegate $g
	done
	# What a site has given another group stays so.
	for f in /etc/tidegate $conf; do
		if [ -e "$f" ] && [ "$(stat -c %G "$f")" = root ]; then
			chgrp tidegate "$f"
		fi
	done
}

# enable_units has units start at boot, unless the site has said otherwise.
enable_units() {
	for u in tidegate.service tidegate-expire.timer; do
		if deb-systemd-helper --quiet was-enabled $u; then
			deb-systemd-helper enable $u >/dev/null || true
		else
			deb-systemd-helper update-state $u >/dev/null || true
		fi
	done
}

# next says which program of an update the launcher would start, and nothing where that is the package's own. It asks as the gateway's user, whose
# folder that is.
next() {
	[ -d /var/lib/tidegate/ota ] || return 0
	setpriv --reuid tidegate --regid tidegate --clear-groups /usr/lib/tidegate/tidegate-launch status 2>/dev/null | sed -n 's/^next: //p' | grep -v '^slot 0,' || true
}

# start lets the service begin, or begin anew; $1 = the version that was configured last, "" = none.
start() {
	if [ ! -e $conf ] || cmp -s $conf $sample; then
		say "now tell $conf what to read and where to send it, then, as root:"
		say "  tidegate check"
		say "  tidegate devices --write && systemctl daemon-reload"
		say "  systemctl start tidegate"
		return 0
	fi
	if ! tidegate check --config $conf; then
		# Root must not run a program of an update, which is the user tidegate's.
		update=$(next)
		if [ -n "$update" ]; then
			say "that is what the package's own program finds in $conf. What runs is a newer one, $update, which may know more:"
			say "the service was not started anew, and may use the devices that it could. To start it anew: systemctl restart tidegate"
			return 0
		fi
		say "$conf has faults, see above: the service was not started anew. When it has none:"
		say "  tidegate devices --write && systemctl daemon-reload && systemctl restart tidegate"
		return 0
	fi
	tidegate devices --config $conf --write
	systemd || return 0
	systemctl --system daemon-reload
	# Whoever has stopped it has had a reason, unless it was the removal of the package.
	if [ -n "$1" ] && [ -z "$ran" ] && [ "$(systemctl show --property ActiveState --value tidegate.service)" = inactive ]; then
		say "the service was stopped, and stays so: systemctl start tidegate"
		return 0
	fi
	deb-systemd-invoke restart tidegate.service || say "the service did not start: see systemctl status tidegate"
}

if [ "$1" != configure ]; then
	exit 0
fi
ran=
if [ -e /etc/tidegate/.ran ]; then
	ran=yes
	rm -f /etc/tidegate/.ran
fi
make_user
enable_units
if [ -e /etc/systemd/system/tidegate.service ] && [ ! -L /etc/systemd/system/tidegate.service ]; then
	say "/etc/systemd/system/tidegate.service hides the service of this package. If it is from a tarball: ./install.sh uninstall there,"
	say "which keeps configuration and readings, then: apt-get install --reinstall tidegate"
fi
if systemd; then
	systemctl --system daemon-reload
	if command -v udevadm >/dev/null; then
		udevadm control --reload || true
		udevadm trigger --subsystem-match=gpio --subsystem-match=i2c-dev --subsystem-match=usb-serial || true
	fi
	deb-systemd-invoke restart tidegate-expire.timer || true
fi
start "$2"
