"""What decides the bytes of a shard task beside its parameters: code and libraries, for its fingerprint."""

from pathlib import Path

import moodlens
from moodlens.stages.closure import closure, path_of
from moodlens.store.receipts import code_digest, library_versions

ROOMS = ("attention", "backends", "codes", "capture", "prompts", "base", "store")
"""Rooms whose code decides the bytes of a shard: a change there makes shards stale."""
LIBRARIES = ("torch", "transformers", "numpy", "safetensors", "soundfile")


def made_by(module: str) -> dict[str, object]:
    """Return the digest of a task module and of what it imports from `ROOMS`, and library versions."""
    source = Path(moodlens.__file__).parents[1]
    deciding = tuple(f"moodlens.{room}." for room in ROOMS)
    modules = {name for name in closure(module, source) if name.startswith(deciding)} | {module}
    code = code_digest(path_of(name, source) for name in modules)
    return {"code": code, "libraries": library_versions(LIBRARIES)}
