"""The prompt grammar and caption tables."""
