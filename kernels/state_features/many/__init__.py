"""Four samples at once through 32 filters side by side."""
