"""How sites are laid out: silhouettes, the circumplex, dimension, pictures. Pure functions."""
