"""Other ways to keep a copy of OpenAQ, each a script as its users would write it, and the table that compares them."""
