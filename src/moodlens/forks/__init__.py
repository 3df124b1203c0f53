"""Forks: what carries the emotion into the music that follows: its past, a memory of the text, the text."""
