"""Stage `forks`: what carries the emotion into the music that follows."""
