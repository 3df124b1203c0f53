"""Speed and memory, measured: `python -m benchmarks.<name>` runs one, `python -m benchmarks` all of them.

A benchmark prints a table and ends with one JSON line `{"name", "value", "unit", "bar", "holds"}`; further
keys are further measurements. Tests assert no wall-clock time: speed lives here.
"""

NAMES = ("generate", "pipeline", "statistics", "sae", "checkpoints", "large", "plan")
"""In the order of a run; a name whose module is not written yet is passed over."""
