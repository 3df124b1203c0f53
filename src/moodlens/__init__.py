"""MoodLens: whether, where and how a music generator encodes emotion."""
