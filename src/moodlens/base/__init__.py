"""Errors, axes, units, seeding: imports nothing of the package."""
