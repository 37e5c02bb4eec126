"""The watching: what the runs amounted to. The daemon, its log, metrics history and alerts will live here."""
