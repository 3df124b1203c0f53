"""Stage `latents`: what SAE latents tell of emotion."""
