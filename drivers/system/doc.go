// Package system reports on the machine that the gateway runs on: load, memory, temperatures, fill level and wear of its disks,
// network traffic, and the power supply of a Raspberry Pi. It reads text files below /proc and /sys and asks statfs(2).
//
// Channels have lasting names: a thermal zone by its type, a hwmon temperature by chip and label, never by the kernel's running numbers.
// What a machine does not have (a thermal zone, swap, a Pi's flags) is left out when the device is opened; what vanishes later becomes a
// fault, and so does what the configuration names and the machine does not have.
package system
