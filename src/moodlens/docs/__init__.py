"""The documentation held equal to the project: figures from tracked files, and names that exist."""
