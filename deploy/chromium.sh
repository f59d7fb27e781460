#!/bin/bash
# Makes sure that the browser tests find Chromium, from the system's packages.
set -euo pipefail
[ "${BROWSER:-1}" = 0 ] && exit 0
command -v chromium >/dev/null && exit 0
PACKAGES="chromium fonts-noto-core"
if ! command -v apt-get >/dev/null; then
    echo "The browser tests need a program called chromium. Install it, or leave them out: make test BROWSER=0" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "The browser tests need Chromium, and installing it needs root: sudo apt-get install $PACKAGES" >&2
    echo "Or leave them out: make test BROWSER=0" >&2
    exit 1
fi
echo "Installing Chromium"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -qq -y --no-install-recommends $PACKAGES >/dev/null
