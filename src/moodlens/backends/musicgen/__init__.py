"""MusicGen in transformers form: decode loop, capture, teacher forcing."""
