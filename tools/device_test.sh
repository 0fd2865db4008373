#!/usr/bin/env bash
# The tests that need a GPU, on this machine: builds for its architecture (or takes the build folder given) and runs
# every test with the label cuda. Where tests are skipped, it fails: tools/device_test.sh [BUILD_FOLDER]
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -ge 1 ]; then
    build=$1
else
    build=build/cuda-dev
    capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
    [ "$capability" = 90 ] && capability=90a
    cmake --preset cuda-dev -DCMAKE_CUDA_ARCHITECTURES="$capability-real" >/dev/null
    ninja -C "$build"
fi
report=$(mktemp)
trap 'rm -f "$report"' EXIT
ctest --test-dir "$build" -L cuda --output-on-failure | tee "$report"
if grep -q "Skipped" "$report"; then
    echo "tests were skipped: is there a GPU that this build can run on?" >&2
    exit 1
fi
