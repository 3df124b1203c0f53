"""What rounding may do to states that are computed twice, generated and re-encoded."""

UNIT = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Largest relative rounding of a model that computes in 16 bits; that of float32 is within the tolerance."""
GATHERED = 64
"""Roundings that sums over many layers may gather, in root mean squares (docs/checkpoints.md has what was
found)."""


def forced_limit(tolerance: float, dtype: str) -> float:
    """Return how far re-encoded states may be from those of generation, in their root mean squares.

    >>> forced_limit(1e-3, "float32"), forced_limit(1e-3, "bfloat16")
    (0.001, 0.25)

    Args:
        tolerance: reencode.tolerance, asked of float32.
        dtype: that the model computes in.
    """
    return max(tolerance, GATHERED * UNIT[dtype])
