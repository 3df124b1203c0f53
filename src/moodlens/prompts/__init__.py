"""Prompts: the grammar and its words, experimental designs, caption tables and the prompt table."""
