"""What a block does beside its systems."""
