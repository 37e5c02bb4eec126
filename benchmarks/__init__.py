"""What the program costs, measured; see README.md here."""
