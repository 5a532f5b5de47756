#!/bin/sh
# Stops the service when the package goes, and notes that it ran: installed again it starts. During an upgrade it goes on: postinst starts it anew
# once the new files are there.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	if [ -d /etc/tidegate ] && [ "$(systemctl show --property ActiveState --value tidegate.service)" != inactive ]; then
		touch /etc/tidegate/.ran
	fi
	deb-systemd-invoke stop tidegate-expire.timer tidegate-expire.service tidegate.service
fi
