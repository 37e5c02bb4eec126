"""One archive of everything that a data folder holds, made while the daemon runs, and the way back.

`writing` makes it, `reading` checks it to its last byte, `restoring` puts it back. See docs/decisions/0034-backup.md.
"""
