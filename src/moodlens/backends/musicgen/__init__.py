"""MusicGen in transformers form: the decode loop, its melody variant, packed weights, spliced layers."""
