#!/usr/bin/env bash
# Check and score the location files, if there are any yet.
. "$(dirname "$0")/common.sh"

if ! compgen -G 'data/location_*.json' >/dev/null; then
    echo "Nothing is stored yet, so there is nothing to check."
    exit 0
fi
shielded report/check.txt python dataset/validator.py --data-dir data
