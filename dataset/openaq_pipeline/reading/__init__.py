"""The reading back: live rows and history as one, for Python (`load`), for SQL (`query`) and as a file (`export`).

Nothing here locks or writes in the data folder. A reader, and the job that moves rows from a location's file to its
history, agree on an order instead: see `location.read` and `query.run`.
"""
