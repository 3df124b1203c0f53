"""Music generators behind one protocol: loading, generation with capture, teacher forcing, decoding."""
