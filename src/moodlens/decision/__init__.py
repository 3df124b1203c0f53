"""The ladder of claims: results in, verdicts out."""
