"""Readers that several stages share: design, sites, shards, stored steps, re-encoded states, rows of SAEs."""
