"""The mixers of attention: layers (B, L, D) with heads, positions that know time, and the state of a stream."""
