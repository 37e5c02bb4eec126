"""A copy of the data in PostgreSQL or TimescaleDB: an optional sink, which `mirror.py` brings up to the files."""
