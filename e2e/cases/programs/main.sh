#!/bin/bash
# Finds its runfiles as tools/bash/runfiles/runfiles.bash of Bazel says.
set -uo pipefail
file=bazel_tools/tools/bash/runfiles/runfiles.bash
source "${RUNFILES_DIR:-/dev/null}/$file" 2>/dev/null || source "$0.runfiles/$file"
set -e
source "$(rlocation lib_repo/greet/greet.sh)"
greeting
cat "$(rlocation _main/data.txt)"
# Links are in the directory alone, not in a manifest.
cd "$0.runfiles/_main"
cat node_modules/left/index.js node_modules/right/bin/right
