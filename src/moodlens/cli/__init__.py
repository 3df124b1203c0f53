"""The command `moodlens`: verdict, models, plan and doctor, beside the pipeline."""
