"""What states re-encoded under null text tell of the music they are fed."""
