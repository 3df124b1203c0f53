"""Stage `probe`: linear probes at every site."""
