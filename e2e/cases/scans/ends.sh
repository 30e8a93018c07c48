#!/bin/sh
echo "the scanner ends with $1"
exit "$1"
