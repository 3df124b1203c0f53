"""Stage `generate`: clips, audio tokens and activations, shard by shard."""
