#!/bin/sh
# Stops the service when the package goes. During an upgrade it goes on: postinst starts it anew once the new files are there.
set -e

if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	deb-systemd-invoke stop tidegate-expire.timer tidegate-expire.service tidegate.service
fi
