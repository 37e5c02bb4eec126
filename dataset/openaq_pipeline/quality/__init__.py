"""The judgement: which rows are odd, and how good a file is. Pure."""
