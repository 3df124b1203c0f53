"""audiocraft's own models and checkpoints: loading, layout, conversion."""
