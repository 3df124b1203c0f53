"""Sparse autoencoders: architectures, sparse training path, trainer, SAELens form. No paths, no tracking."""
