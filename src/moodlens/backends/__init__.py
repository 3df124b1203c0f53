"""Music generators behind one protocol."""
