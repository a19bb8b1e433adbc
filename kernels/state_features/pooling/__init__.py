"""Statistics of outputs, kept up sample by sample."""
