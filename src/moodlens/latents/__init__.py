"""What single units (SAE latents and simpler ones) have to do with emotion: arrays in, records out."""
