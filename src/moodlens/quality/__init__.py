"""Great Expectations suites, built from the data contracts."""
