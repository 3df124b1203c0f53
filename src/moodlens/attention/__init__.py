"""Summaries of cross-attention and self-attention by head, and their tests; descriptive, not causal."""
