#!/usr/bin/env bash
# Installs the Deno of package-lock.json, whose hashes cover every system, and puts it on the PATH of the steps to come.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --ignore-scripts --no-audit --no-fund
bin="$PWD/node_modules/.bin"
if command -v cygpath > /dev/null; then bin=$(cygpath --windows "$bin"); fi
echo "$bin" >> "${GITHUB_PATH:-/dev/null}"
"./node_modules/.bin/deno" --version
