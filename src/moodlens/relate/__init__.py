"""Sites against acoustic descriptors: Mantel tests, regression, and clips that match their prompt."""
