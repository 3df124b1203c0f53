"""Contracts between rooms: columns of tables, names and axes of tensors, the interface of a model."""
