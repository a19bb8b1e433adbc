"""State-space systems in rows of streams."""
