"""Evidence for the rung `state`: what re-encoded states hold under null text, beside what they are fed."""
