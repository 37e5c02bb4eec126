"""The thinking: which windows to ask for, how far the data reach, what is new. Pure: no clock, no files, no network."""
