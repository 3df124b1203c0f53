"""Linear probes with folds by prompt, and their baselines."""
