"""Recorders: stored steps, running summaries and quality figures of states that arrive in chunks."""
