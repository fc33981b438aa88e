#!/bin/sh
# Makes slides.pdf of docs/slides.md:  scripts/build_slides.sh [FILE]
# With a FILE that ends in .pptx, that, with the speaker's notes. A relative path begins at the project's folder.
# Needs Node.js 18 or newer and Chromium or Chrome; npx gets Marp CLI.
set -eu
cd "$(dirname "$0")/.."
command -v npx > /dev/null || { echo "There is no npx: install Node.js, https://nodejs.org" >&2; exit 2; }
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
[ -z "$browser" ] || export CHROME_PATH="$browser"
# As root, Chromium has no sandbox of its own: Marp leaves it off where it takes itself to be in a container.
[ "$(id -u)" -ne 0 ] || export CHROME_NO_SANDBOX=1
exec npx --yes @marp-team/marp-cli@4.5.1 docs/slides.md --allow-local-files --output "${1:-slides.pdf}"
