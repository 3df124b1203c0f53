"""Great Expectations suites, one per dataset, built from the data contracts, and their pages."""
