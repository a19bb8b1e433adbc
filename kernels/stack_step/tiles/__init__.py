"""Parts of a step on whole vectors."""
