"""Sparse autoencoders: architectures, sparse training path, trainer, SAELens format. Reads no files."""
