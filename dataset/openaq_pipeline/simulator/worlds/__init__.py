"""What there is to measure: made-up worlds and one that replays recorded pages."""
