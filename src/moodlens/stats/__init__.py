"""Statistics on Gram matrices: permutation tests, multiplicity, resampling, similarity and power."""
