#!/bin/sh
# Writes base.txt and dev.txt from base.in and dev.in: every version and every file's hash, for
# all platforms that the packages are built for. Wants uv on the PATH.
# Pass --upgrade to move what base.in and dev.in leave open; without it, pins stay as they are.
set -eu
cd "$(dirname "$0")"
for name in base dev; do
    uv pip compile --quiet --universal --python-version 3.11 --only-binary :all: \
        --generate-hashes --no-header --no-emit-index-url --excludes excludes.txt --override overrides.txt "$@" "$name.in" --output-file "$name.txt"
done
