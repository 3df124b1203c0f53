"""How states hang together with what is heard: distances, matched clips, descriptors."""
