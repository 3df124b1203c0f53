"""audiocraft checkpoints: read, converted to transformers form, or run by audiocraft itself."""
