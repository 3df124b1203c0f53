"""Time, memory and disk of every stage, from a model's sizes and the parameters, before any work."""
