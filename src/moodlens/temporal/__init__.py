"""Where in time: separation step by step, early against late, rhythm in the states. Pure functions."""
