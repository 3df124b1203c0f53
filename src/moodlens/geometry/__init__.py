"""The arrangement of the emotions at each site: silhouettes, the circumplex, dimension, and projections."""
