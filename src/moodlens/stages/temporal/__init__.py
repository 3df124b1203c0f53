"""Stage `temporal`: when emotion shows."""
