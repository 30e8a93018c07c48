#!/bin/sh
# Checks how it was called, and ends with 3 if that was as it should be.
set -eu

test "$#" = 5
test "$1" = "$OCI_LAYOUT"
test "$2" = "$OCI_SCAN_REPORT"
test "$2" = "$3/sub/report.txt"
test "$4" = '{{template}} {}'
test "$IN" = "in $1"
test "$PLACE" = "$5"
test "$LINES" = "one
two"
test -z "${OCI_PULL_ALL_ARGUMENTS:-}"
test "$PRICE" = "5$"
test -d "$HOME"
test -z "$(ls -A "$HOME")"
test "$(ls -A)" = marked.txt
test -z "$(find "$1" -type l)"
grep -q forbidden "$5"
grep -q "the scanner" "${RUNFILES_DIR:?}/_main/scanner.txt"
grep -q imageLayoutVersion "$1/oci-layout"
echo "as it should be" >"$2"
echo "more" >"$3/more.txt"
exit 3
