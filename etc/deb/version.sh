#!/bin/sh
# Prints the Debian version (deb-version(7)) of what `git describe` says, without a revision.
#
#     version.sh DESCRIBED SECONDS
#
# A build after a tag is newer than the tag and older than the next one; a candidate (v1.2.3-rc1) is older than what it is a candidate of. Without a
# tag the time of the commit orders builds, all older than any release.
set -eu
described=${1:?usage: version.sh DESCRIBED SECONDS}
seconds=${2:?usage: version.sh DESCRIBED SECONDS}

changed=
case $described in
*-dirty)
	changed=+dirty
	described=${described%-dirty}
	;;
esac
case $described in
v[0-9]*)
	version=${described#v}
	since=$(expr "$version" : '.*-\([0-9][0-9]*-g[0-9a-f][0-9a-f]*\)$') || since=
	if [ -n "$since" ]; then
		version=${version%-"$since"}
		since=+$(echo "$since" | tr - .)
	fi
	version=$(echo "$version" | sed 's/-/~/; s/-/./g')$since
	;;
*) version=0~$(date -u -d "@$seconds" +%Y%m%d.%H%M%S).$described ;;
esac
echo "$version$changed"
