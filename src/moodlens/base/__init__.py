"""Errors, exit statuses, axis names, units and seeds; imports nothing of the package."""
