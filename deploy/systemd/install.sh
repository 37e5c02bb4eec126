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
# What a build leaves in the checkout is part of the next one: a module that a release took out would come back by it.
rm -rf build
/opt/openaq-pipeline/bin/pip install --quiet --no-deps .
rm -rf build

# A data disk of another machine may know the user by another number. The folder itself comes last: it tells that all is done.
data=/var/lib/openaq-pipeline
if [ -e "$data" ] && [ "$(stat --format %U "$data")" != openaq ]; then
    find "$data" -depth -xdev ! -user openaq ! -name lost+found -exec chown -h openaq:openaq {} +
fi

install -d /etc/openaq-pipeline
install -d -o openaq -g openaq -m 0750 "$data"
[ -e /etc/openaq-pipeline/config.yaml ] || install -m 0644 config.yaml /etc/openaq-pipeline/config.yaml
install -m 0755 deploy/systemd/openaq-pipeline.sh /usr/local/sbin/openaq-pipeline
install -m 0644 deploy/systemd/openaq-pipeline.service /etc/systemd/system/openaq-pipeline.service
systemctl daemon-reload
