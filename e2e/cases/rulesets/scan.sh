#!/usr/bin/env bash
# Stands for a scanner: reads every blob of the layout, and finds the base's in it.
set -euo pipefail

layers=0
for blob in "$1"/blobs/sha256/*; do
  echo "$(basename "$blob")  $blob" | sha256sum --check --quiet
  if [[ $(stat --dereference --format=%s "$blob") -gt 50000000 ]]; then
    layers=$((layers + 1))
  fi
done
test "$layers" -eq 1
