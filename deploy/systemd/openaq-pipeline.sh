#!/bin/sh
# Any command of the pipeline beside the service, as root: with its user, its settings and its key. Paths are absolute.
set -eu
cd /etc/openaq-pipeline
umask 0027
export HOME=/var/lib/openaq-pipeline DATA_DIR=/var/lib/openaq-pipeline/data
if [ -r openaq-api-key ]; then
    OPENAQ_API_KEY=$(cat openaq-api-key)
    export OPENAQ_API_KEY
fi
exec setpriv --reuid=openaq --regid=openaq --init-groups --bounding-set=-all --no-new-privs \
    /opt/openaq-pipeline/bin/openaq-pipeline "$@"
