"""Linear probes with folds that hold out whole prompts or wordings, and their baselines."""
