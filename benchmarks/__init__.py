"""Speed and memory, measured: `python -m benchmarks.<name>` runs one, `python -m benchmarks` all of them.

A benchmark prints a table and ends with one JSON line `{"name", "value", "unit", "bar", "holds"}`; further
keys are further measurements. Tests assert no wall-clock time: speed lives here.
"""

COMMANDS = {
    "generate": ("generate",),
    "forks": ("forks",),
    "interventions": ("interventions",),
    "pipeline": ("pipeline",),
    "statistics": ("statistics",),
    "sae": ("sae",),
    "sae_organism": ("sae", "--tensor", "organism", "--batch", "1024", "--steps", "60"),
    "sae_texts": ("sae_texts",),
    "checkpoints": ("checkpoints",),
    "large": ("large",),
    "plan": ("plan",),
}
"""Module and arguments of every benchmark, in the order of a run."""
