#!/usr/bin/env bash
# Connects to the registry of an image, and ends with 1 if it cannot. usage: reach.sh LAYOUT HOST:PORT/NAME
set -eu
test -f "$1/index.json"
host=${2%%/*}
if (exec 3<>"/dev/tcp/${host%:*}/${host#*:}"); then
  exit 0
fi
exit 1
