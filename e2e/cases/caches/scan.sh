#!/usr/bin/env bash
# Stands for a scanner: reads every blob of the layout, base layers included, with no network.
set -euo pipefail

layout=$1
test -s "$layout/index.json"
blobs=0
for blob in "$layout"/blobs/sha256/*; do
  echo "$(basename "$blob")  $blob" | sha256sum --check --quiet
  blobs=$((blobs + 1))
done
grep -Rlq '"APP_PORT=8080"' "$layout/blobs"

# Only loopback exists in a Linux sandbox, and nothing has gone through it.
if [[ -e /proc/net/dev ]] && grep -v -e '^Inter-' -e '^ face' -e '^ *lo: *0 ' /proc/net/dev; then
  echo "the test has a network"
  exit 1
fi
echo "scanned $blobs blobs"
