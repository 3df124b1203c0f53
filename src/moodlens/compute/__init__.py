"""A pool of local processes for independent tasks, with progress output."""
