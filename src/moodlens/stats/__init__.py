"""Valid statistics on arrays: the prompt is the unit of replication."""
