#!/bin/sh
exec "${RUNFILES_DIR:-$0.runfiles}/_main/push" --tag deployed
