"""The daemon: one run after another, each in a process of its own, under a clock, a watchdog and the folder's lock."""
