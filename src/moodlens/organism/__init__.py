"""How the embedded model is made."""
