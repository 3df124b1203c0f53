"""Audio tokens: the delay pattern and token histograms."""
