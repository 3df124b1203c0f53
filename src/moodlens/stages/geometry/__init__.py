"""Stage `geometry`: how emotions lie to one another."""
