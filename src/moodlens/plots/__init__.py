"""Figures: a record and an Axes in, the Axes out."""
