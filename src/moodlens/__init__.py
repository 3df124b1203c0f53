"""MoodLens: whether, where and how a music generator encodes emotion."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moodlens.extractor import ActivationExtractor, cosine_similarity

__all__ = ["ActivationExtractor", "cosine_similarity"]


def __getattr__(name: str) -> object:
    """Import the extractor on first access, so that `import moodlens` alone stays fast."""
    if name in __all__:
        # by name, so that the import closure of a stage, which does not use the extractor, leaves it out
        return getattr(import_module("moodlens.extractor"), name)
    raise AttributeError(f"module 'moodlens' has no attribute {name!r}")
