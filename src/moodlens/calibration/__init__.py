"""The analysis on data whose truth is known: simulated clips, error rates, power, the embedded models."""
