"""`moodlens`: the commands outside the pipeline."""
