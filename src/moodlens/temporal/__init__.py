"""Emotion over time: separation step by step, early against late windows, and rhythm in the states."""
