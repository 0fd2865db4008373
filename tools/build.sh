#!/usr/bin/env bash
# Configures and builds the release preset: tools/build.sh [NINJA TARGETS]. Quiet unless something fails; as many
# jobs as processors, fewer where memory is short (a large unit takes about 1.5 GB).
set -euo pipefail
cd "$(dirname "$0")/.."

jobs=$(nproc)
memory_kb=$(awk '/MemAvailable/ {print $2}' /proc/meminfo)
most=$((memory_kb / 1500000))
if [ "$most" -lt "$jobs" ]; then jobs=$((most > 0 ? most : 1)); fi

mkdir -p build/release
cmake --preset release >build/release/configure.log 2>&1 || { cat build/release/configure.log >&2; exit 1; }
ninja -C build/release -j "$jobs" "$@"
