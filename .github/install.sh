#!/bin/sh
# Installs runner @VERSION@ for this system. Everything that is downloaded is checked against the hashes below before
# anything is written where it can be run; with GitHub's client at hand, its attestation is checked too.
#
#   sh install.sh [--dir DIR] [--no-links]
#
# DIR is where the program goes, ~/.local/bin unless given. Beside it claude-relay and codex-relay are links to it.
set -eu

VERSION='@VERSION@'
BASE_URL='@BASE_URL@'
REPOSITORY='@REPOSITORY@'
HASHES='@HASHES@'

say() { printf '%s\n' "$*"; }
fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

dir="${HOME:-}/.local/bin"
links=yes
while [ $# -gt 0 ]; do
  case $1 in
    --dir)
      [ $# -ge 2 ] || fail '--dir needs a value'
      dir=$2
      shift
      ;;
    --dir=*) dir=${1#--dir=} ;;
    --no-links) links=no ;;
    --help)
      say 'usage: sh install.sh [--dir DIR] [--no-links]'
      exit 0
      ;;
    *) fail "unknown option $1" ;;
  esac
  shift
done
case $dir in
  /?*) ;;
  *) fail "--dir must be absolute: $dir" ;;
esac

case "$(uname -s)" in
  Linux) system=linux ;;
  Darwin) system=macos ;;
  *) fail "there is no program for $(uname -s); for Windows see docs/install.md" ;;
esac
case "$(uname -m)" in
  x86_64 | amd64) machine=x64 ;;
  aarch64 | arm64) machine=arm64 ;;
  *) fail "there is no program for $(uname -m)" ;;
esac
# Before the download, since the program would only be "not found" there. The C library says its name in its own ldd.
if [ "$system" = linux ]; then
  if command -v ldd > /dev/null; then libc=$(ldd --version 2>&1 || :); else libc=$(ls /lib/ld-musl-* 2> /dev/null || :); fi
  case $libc in
    *musl*) fail 'this system has musl, and the program needs glibc. Nothing was installed.' ;;
  esac
fi
target="$system-$machine"
expected=$(printf '%s\n' "$HASHES" | sed -n "s/^$target //p")
[ -n "$expected" ] || fail "there is no program for $target"
archive="runner-$VERSION-$target.tar.gz"

work=$(mktemp -d)
trap 'rm -rf "$work"; rm -f "$dir/.runner.new"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if command -v curl > /dev/null; then
  curl --fail --silent --show-error --location --output "$work/$archive" "$BASE_URL/$archive" ||
    fail "cannot download $BASE_URL/$archive"
elif command -v wget > /dev/null; then
  wget --quiet --output-document="$work/$archive" "$BASE_URL/$archive" ||
    fail "cannot download $BASE_URL/$archive"
else
  fail 'curl or wget is needed'
fi

if command -v sha256sum > /dev/null; then
  found=$(sha256sum < "$work/$archive")
elif command -v shasum > /dev/null; then
  found=$(shasum -a 256 < "$work/$archive")
else
  fail 'sha256sum or shasum is needed'
fi
found=${found%% *}
[ "$found" = "$expected" ] ||
  fail "$archive is not the released file: its SHA-256 is $found, not $expected. Nothing was installed."
say "checksum     ok"

if command -v gh > /dev/null && gh auth status > /dev/null 2>&1; then
  gh attestation verify "$work/$archive" --repo "$REPOSITORY" \
    --signer-workflow "$REPOSITORY/.github/workflows/build.yml" > /dev/null ||
    fail "nobody vouches for $archive (gh attestation verify). Nothing was installed."
  say "attestation  ok"
else
  say "attestation  not checked: GitHub's client (gh) is not here or not logged in"
fi

mkdir "$work/files"
tar -xzf "$work/$archive" -C "$work/files"
mkdir -p "$dir"
# Under another name first: a rename is whole, and a runner that is at work keeps the file it has open. Tried there, since
# a temporary directory may be one that no program can be run in.
cp "$work/files/runner" "$dir/.runner.new"
chmod 755 "$dir/.runner.new"
code=0
"$dir/.runner.new" version > /dev/null || code=$?
case $code in
  0) ;;
  126) fail "no program can be run in $dir (is it mounted noexec?); give another --dir. Nothing was installed." ;;
  127) fail 'the program does not start: its loader is missing, which is that of glibc. Nothing was installed.' ;;
  *) fail "the program does not start on this system (exit code $code). Nothing was installed." ;;
esac
mv -f "$dir/.runner.new" "$dir/runner"
if [ "$links" = yes ]; then
  for name in claude-relay codex-relay; do ln -sf runner "$dir/$name"; done
fi
say "installed    $dir/runner ($("$dir/runner" version))"
case ":${PATH:-}:" in
  *":$dir:"*) ;;
  *) say "note         $dir is not on your PATH" ;;
esac
