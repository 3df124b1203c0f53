"""Axis names of the package, one meaning each. jaxtyping annotations use these words.

prompt    one text                          clip      prompt x seed, one generated waveform
frame     codec time (50 Hz in MusicGen)    step      decoder time: frame + delay pattern
codebook  one residual quantiser            sample    audio sample
layer     decoder layer, 0 = first          d_model   width of the residual stream
half      classifier-free half: cond, uncond
token     text token                        descriptor  one acoustic descriptor
perm      one relabelling of prompts; the first is the observed one
klass     one emotion, in the fixed order of `EMOTIONS`
"""

EMOTIONS = ("happy", "sad", "calm", "energetic", "angry")
"""The order in every table, colour map and class column."""

HALVES = ("cond", "uncond")
