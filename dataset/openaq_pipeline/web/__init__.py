"""The showing: a status page, an API and metrics, from the files of a data folder alone; nothing is written."""
