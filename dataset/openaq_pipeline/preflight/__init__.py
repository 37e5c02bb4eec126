"""Preflight: would a run work here, and if not, what is to be done? Each check is one line.

Imports nothing but the standard library at first: a missing dependency must be found and not fallen over.
"""
