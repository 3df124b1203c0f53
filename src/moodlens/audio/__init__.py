"""Acoustic descriptors of waveforms, and the emotion classifier that is fitted on them."""
