"""Verdicts from results: the ladder of claims, findings beside it, SAE gates, the overview."""
