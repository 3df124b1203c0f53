"""The report page: a chapter per stage with its figures, the verdict, the players, the provenance."""
