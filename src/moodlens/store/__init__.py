"""Shards, tables, manifests, MLflow tracking, dvc.lock lineage."""
