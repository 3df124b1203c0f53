"""MoodLens: whether, where and how a music generator encodes emotion."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moodlens.extractor import ActivationExtractor, cosine_similarity

__all__ = ["ActivationExtractor", "cosine_similarity"]


def __getattr__(name: str) -> object:
    """Import the extractor when it is first asked for: `import moodlens` alone stays light."""
    if name in __all__:
        # by name: no stage of the pipeline depends on the extractor, and its import closure must not say so
        return getattr(import_module("moodlens.extractor"), name)
    raise AttributeError(f"module 'moodlens' has no attribute {name!r}")
