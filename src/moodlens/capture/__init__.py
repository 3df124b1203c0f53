"""What is computed from states while they are at hand: summaries per layer, and the figures `check` reads."""
