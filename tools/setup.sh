#!/usr/bin/env bash
# Prepares this machine to build Sheaf: installs what is missing from Debian 12 (as root or through sudo), and with
# --tests the Python packages of the test suite into .venv. Asks nothing, downloads nothing else, and does nothing
# when everything is there.
set -euo pipefail
cd "$(dirname "$0")/.."

# package|what it is for
packages=(
    "g++|the compiler (C++20)"
    "cmake|configures the build"
    "ninja-build|runs the build"
    "pkg-config|finds libraries"
    "ccache|makes the second build quick"
    "git|names the commit in sheaf version"
    "ca-certificates|trust for downloads of the test suite's Python packages"
    "curl|the line that ./run prints to be copied"
    "python3|the quick start's client, the source checks"
    "libboost1.81-dev|HTTP (Asio, Beast)"
    "nlohmann-json3-dev|JSON"
    "libsimdjson-dev|large JSON headers of checkpoints"
    "libfmt-dev|text formatting"
    "libspdlog-dev|the log"
    "libyaml-cpp-dev|--config files"
    "libedit-dev|line editing in sheaf chat"
    "libutf8proc-dev|Unicode tables"
    "libssl-dev|digests of keys"
    "prometheus-cpp-dev|/metrics"
)
test_packages=(
    "python3-venv|a place for the test suite's Python packages"
    "libgtest-dev|unit tests"
    "libgmock-dev|unit tests"
)

want_tests=no
case "${1:-}" in
    --tests) want_tests=yes ;;
    "") ;;
    *) echo "usage: tools/setup.sh [--tests]" >&2; exit 2 ;;
esac
if [ "$want_tests" = yes ]; then packages+=("${test_packages[@]}"); fi

install_packages() {
    local missing=() entry name
    for entry in "${packages[@]}"; do
        name=${entry%%|*}
        if ! dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q "ok installed"; then
            missing+=("$name")
            printf '  %-20s %s\n' "$name" "${entry#*|}"
        fi
    done
    [ ${#missing[@]} -eq 0 ] && return
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! sudo -n true 2>/dev/null; then
            echo "These packages are missing, and installing them needs root. Run this, then try again:" >&2
            echo "  sudo apt-get install --no-install-recommends ${missing[*]}" >&2
            exit 1
        fi
        as_root=(sudo -n)
    fi
    echo "Installing the ${#missing[@]} packages above with apt-get."
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
    "${apt[@]}" update
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}"
}

install_python_packages() {
    local stamp=.venv/.requirements-test
    cmp -s tools/requirements-test.txt "$stamp" && return
    echo "Installing the Python packages of tools/requirements-test.txt into .venv, for the tests alone."
    [ -x .venv/bin/python ] || python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r tools/requirements-test.txt
    cp tools/requirements-test.txt "$stamp"
}

if ! command -v dpkg-query >/dev/null; then
    echo "tools/setup.sh knows Debian and Ubuntu only; elsewhere install by hand:" >&2
    printf '  %s\n' "${packages[@]}" >&2
    exit 1
fi
install_packages
if [ "$want_tests" = yes ]; then install_python_packages; fi
