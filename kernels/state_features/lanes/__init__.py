"""Filters side by side: their stages, one sample or four at a time."""
