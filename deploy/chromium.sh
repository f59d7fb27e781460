#!/bin/bash
# Makes sure that the browser tests find Chromium, from the system's packages.
set -euo pipefail
[ "${BROWSER:-1}" = 0 ] && exit 0
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" >/dev/null && exit 0
done
PACKAGES="chromium fonts-noto-core"
if ! command -v apt-get >/dev/null; then
    echo "The browser tests need Chromium or Google Chrome. Install one, or leave them out: make test BROWSER=0" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "The browser tests need Chromium, and installing it needs root: sudo apt-get install $PACKAGES" >&2
    echo "Or leave them out: make test BROWSER=0" >&2
    exit 1
fi
echo "Installing Chromium"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
if ! { apt-get update -qq && apt-get install -qq -y --no-install-recommends $PACKAGES; } >/dev/null 2>&1; then
    echo "apt cannot install Chromium (Ubuntu has it as a snap alone). Install it or Google Chrome by hand, or leave the browser tests out: make test BROWSER=0" >&2
    exit 1
fi
