"""A vector register as a type for compiled loops."""
