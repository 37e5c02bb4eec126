"""The keeping: location files, state, rejects and metadata on disk."""
