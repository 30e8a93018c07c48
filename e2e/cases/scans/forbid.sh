#!/bin/sh
# Fails if an SBOM lists a package. usage: forbid.sh SBOM PACKAGE
if grep -q "\"name\": *\"$2\"" "$1"; then
  echo "the image has the forbidden package $2"
  exit 1
fi
