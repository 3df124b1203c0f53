"""The report page, built from results."""
