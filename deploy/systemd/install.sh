#!/bin/sh
# Installs this checkout as a service, or brings an installation up to it: program, user, unit, command.
# As root; may be repeated. Settings and key are the owner's: what is there is left as it is.
set -eu
umask 022
cd "$(dirname "$0")/../.."

id -u openaq >/dev/null 2>&1 ||
    useradd --system --user-group --home-dir /var/lib/openaq-pipeline --shell /usr/sbin/nologin openaq

# The packages in the versions that were tested, by their hashes.
python3 -m venv /opt/openaq-pipeline
/opt/openaq-pipeline/bin/pip install --quiet --require-hashes --requirement requirements.lock
/opt/openaq-pipeline/bin/pip install --quiet --no-deps .

install -d /etc/openaq-pipeline
install -d -o openaq -g openaq -m 0750 /var/lib/openaq-pipeline
[ -e /etc/openaq-pipeline/config.yaml ] || install -m 0644 config.yaml /etc/openaq-pipeline/config.yaml
install -m 0755 deploy/systemd/openaq-pipeline.sh /usr/local/sbin/openaq-pipeline
install -m 0644 deploy/systemd/openaq-pipeline.service /etc/systemd/system/openaq-pipeline.service
systemctl daemon-reload
