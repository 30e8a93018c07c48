#!/bin/sh
cat "$0.runfiles/_main/assets/message.txt"
