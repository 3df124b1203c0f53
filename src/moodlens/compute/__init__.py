"""Shard tasks on a local pool."""
