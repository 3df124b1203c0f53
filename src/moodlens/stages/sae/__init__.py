"""Stage `sae`: training of sparse autoencoders."""
