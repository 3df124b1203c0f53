"""The parameters of every pipeline as typed records, refused when read if they cannot be used."""
