"""Stage `reencode`: generated tokens fed back under other texts and to untrained decoders."""
