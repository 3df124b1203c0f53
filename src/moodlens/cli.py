"""`moodlens`: what a person asks outside the pipeline."""
