#!/bin/sh
# Purging takes the configuration, the readings that are stored and the user; removing leaves them.
set -e

case $1 in
remove | purge)
	rm -f /etc/systemd/system/tidegate.service.d/devices.conf
	rmdir --ignore-fail-on-non-empty /etc/systemd/system/tidegate.service.d 2>/dev/null || true
	;;
esac
if [ "$1" = purge ]; then
	for u in tidegate.service tidegate-expire.timer; do
		deb-systemd-helper purge $u >/dev/null || true
	done
	rm -rf /etc/tidegate /var/lib/tidegate /run/tidegate
	# The groups dialout, gpio and i2c stay: others may use them.
	if getent passwd tidegate >/dev/null; then
		userdel tidegate
	fi
	if getent group tidegate >/dev/null; then
		groupdel tidegate
	fi
fi
if [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload
fi
