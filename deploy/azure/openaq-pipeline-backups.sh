#!/bin/sh
# The backups in the storage account, as root: `list` names them, `fetch NAME` writes one to stdout.
set -eu
set -a
# shellcheck source=/dev/null
. /etc/openaq-pipeline/azure.env
exec /usr/local/lib/openaq-pipeline/on_azure.py "$@"
