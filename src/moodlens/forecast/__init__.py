"""Forecast of time, memory and disk of every stage, before it runs."""
