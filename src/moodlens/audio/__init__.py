"""Acoustic descriptors of waveforms."""
