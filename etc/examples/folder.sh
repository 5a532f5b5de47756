#!/bin/sh
# How many files wait in a folder, and how full its disk is: folder.sh DIR (mode: once).
set -eu
cd "$1"
waiting=$(find . -type f | wc -l)
used=$(df --output=pcent . | tr -dc 0-9)
printf '{"channel":"waiting","value":%d}\n' "$waiting"
printf '{"channel":"disk_used","value":%d,"unit":"/100"}\n' "$used"
