"""Folders of a model hub: from the cache if they are there, else downloaded; never guessed."""

from pathlib import Path
from typing import Any

from moodlens.base.errors import UsageError, must

MODEL_FILES = ("*.json", "*.safetensors", "spiece.model")
"""Configuration, tokenizer and weights; never pickles, never another framework's copy."""


def cached(repo: str, revision: str = "") -> Path | None:
    """Return the folder of a hub model if it is in the local cache; the network is not touched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(MODEL_FILES)}
    try:
        return Path(snapshot_download(repo, local_files_only=True, **wanted))
    except LocalEntryNotFoundError:
        return None


def snapshot(repo: str, revision: str = "", *, thing: str, instead: str) -> Path:
    """Return the folder of a hub model, cached or downloaded.

    Args:
        repo: the hub id.
        revision: branch, tag or commit; empty is the default branch.
        thing: what the error line calls it.
        instead: what the error line advises beside downloading.

    Raises:
        UsageError: it is neither cached nor can the hub be reached.
    """
    found = cached(repo, revision)
    if found is not None:
        return found
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(MODEL_FILES)}
    try:
        return Path(snapshot_download(repo, **wanted))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        advice = f"Run `hf download {repo}` where the hub can be reached (HF_HUB_OFFLINE unset), or {instead}"
        rule = "be cached or downloadable"
        raise UsageError(must(thing, rule, reason, where="hub", next_step=advice)) from None
