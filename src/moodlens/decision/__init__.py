"""Verdicts from results: the ladder of claims, the factors of the music, the gates before SAE training."""
