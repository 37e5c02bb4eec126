#!/bin/sh
# Mounts the data disk: data-disk.sh FOLDER DEVICE…, as root; may be repeated. The first of these devices that appears is
# taken. A disk on which there is anything at all is never formatted: if it is ext4 it is mounted, else this ends with a
# sentence and the disk is as it was.
set -eu
folder=$1
shift

say() {
    echo "data-disk: $*" >&2
}

appeared() {
    for name; do
        [ ! -b "$name" ] || readlink -f "$name"
    done | head -n 1
}

seconds=${SECONDS_TO_WAIT:-60}
until device=$(appeared "$@") && [ -n "$device" ]; do
    if [ "$seconds" = 0 ]; then
        say "The data disk has not appeared. Is it attached?"
        exit 1
    fi
    seconds=$((seconds - 1))
    sleep 1
done

# A new disk is all zeros: neither a file system, nor a table of partitions, nor anything else that somebody has put there.
kind=$(blkid --probe --match-tag TYPE --output value "$device" || true)
if [ -z "$kind$(wipefs --no-act --noheadings "$device")" ] && cmp --quiet --bytes=4194304 "$device" /dev/zero; then
    say "$device is empty: a file system is made on it."
    mkfs.ext4 -q -m 1 -L openaq-data "$device"
elif [ "$kind" != ext4 ]; then
    say "$device holds something that is no ext4 file system (${kind:-unknown}): it is left alone. Look at it with wipefs and lsblk."
    exit 1
fi

# By its own number, since names of devices change. Without the disk the machine starts all the same, and the service
# does not.
fstab=${FSTAB:-/etc/fstab}
uuid=$(blkid --probe --match-tag UUID --output value "$device")
mkdir -p "$folder"
if ! grep -q "^UUID=$uuid " "$fstab"; then
    echo "UUID=$uuid $folder ext4 defaults,nofail,nosuid,nodev,noexec,x-systemd.device-timeout=60 0 2" >>"$fstab"
fi
mountpoint --quiet "$folder" || mount --target "$folder" --fstab "$fstab"
