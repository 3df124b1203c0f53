"""What cross-attention and self-attention look at, from summaries: descriptive, never causal."""
