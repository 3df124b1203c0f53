"""What single units (SAE latents or any others) say of emotion. Pure: pooled activations in, records out."""
