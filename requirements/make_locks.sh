#!/bin/sh
# Writes base.txt, dev.txt and engines.txt from the .in files: every version and every file's hash,
# for all platforms that the packages are built for. Wants uv on the PATH.
# Pass --upgrade to move what these leave open; without it, pins stay as they are.
set -eu
cd "$(dirname "$0")"
lock() {
    name=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: \
        --generate-hashes --no-header --no-emit-index-url "$@" "$name.in" --output-file "$name.txt"
}
lock base --excludes excludes.txt --override overrides.txt "$@"
lock engines --excludes engines-excludes.txt --override overrides.txt "$@"
lock dev --excludes excludes.txt --override overrides.txt "$@"
