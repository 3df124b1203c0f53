"""What several stages read together: the design, sites, stored steps, re-encoded states, rows of SAEs."""
