#!/bin/sh
# Installs this checkout on the machine that main.bicep made, or brings the installation up to it. As root; may be repeated.
set -eu
umask 022
cd "$(dirname "$0")/../.."

sh deploy/systemd/install.sh

# The key lies in memory alone.
ln -sfn /run/openaq-pipeline-key/openaq-api-key /etc/openaq-pipeline/openaq-api-key
install -d /usr/local/lib/openaq-pipeline /etc/systemd/system/openaq-pipeline.service.d
install -m 0755 deploy/azure/on_azure.py /usr/local/lib/openaq-pipeline/on_azure.py
install -m 0755 deploy/azure/openaq-pipeline-backups.sh /usr/local/sbin/openaq-pipeline-backups
install -m 0644 deploy/azure/openaq-pipeline.conf /etc/systemd/system/openaq-pipeline.service.d/azure.conf
for unit in openaq-pipeline-key.service openaq-pipeline-backup.service openaq-pipeline-backup.timer; do
    install -m 0644 "deploy/azure/$unit" "/etc/systemd/system/$unit"
done
systemctl daemon-reload
systemctl enable openaq-pipeline-key.service openaq-pipeline-backup.timer openaq-pipeline.service
systemctl start openaq-pipeline-backup.timer
# The key may take its time: nobody is kept waiting.
systemctl restart --no-block openaq-pipeline.service
