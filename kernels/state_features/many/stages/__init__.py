"""Four samples through one to four stages."""
