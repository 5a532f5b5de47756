// Package deb installs the Debian packages that `make deb` has made, as a site does: fresh, over an older one, over a newer one, over a
// program that an update brought; removes and purges them. Each step is the real dpkg with the real maintainer scripts, in a system that
// is thrown away: a layer above this machine's own (or above one of debootstrap's, -base), in namespaces without a network. The tarball's
// install.sh goes through the same.
//
// Where systemd is asked for something it is played by a script that writes down what it was told. In boot_test.go it is the real one, as
// process 1 of a machine.
package deb
