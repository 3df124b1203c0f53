"""Files on disk: shards, tables, receipts, audio, SAEs; MLflow runs and models; code fingerprints."""
