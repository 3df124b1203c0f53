"""Model folders of the hub: from the local cache where it is complete, else downloaded.

A folder of the cache can hold a part of a model, after a download that was cut off or of a few files. It is
served only if nothing that its configuration and index name is absent.
"""

import re
from pathlib import Path
from typing import Any

from moodlens.backends.checkpoint import TOKENIZERS
from moodlens.backends.weight_files import INDEX, PICKLED, WEIGHTS, read_json
from moodlens.base.errors import MoodLensError, UsageError, must

MODEL_FILES = ("*.json", "*.safetensors", "spiece.model")
"""Configuration, tokenizer and weights; no pickles and no copies for other frameworks."""
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(name: str) -> bool:
    """Say whether a text has the form of a hub id, `user/name`.

    >>> is_hub_id("someone/musicgen-jazz"), is_hub_id("/srv/models/t5"), is_hub_id("models/organism/reader")
    (True, False, False)
    """
    return HUB_ID.fullmatch(name) is not None and "--" not in name and ".." not in name


def cached(repo: str, revision: str = "") -> Path | None:
    """Return the folder of a hub model, perhaps with a part of it, in the local cache; uses no network.

    None if it is not there, or if `repo` is no hub id.
    """
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repo, local_files_only=True, **_wanted(revision)))
    except (OSError, ValueError):  # not there; not an id; an endpoint that is no address
        return None


def is_whole(folder: Path, *, tokenizer: bool = True) -> bool:
    """Say whether a snapshot has a configuration, every weight file that its index names, and a tokenizer."""
    return _has_weights(folder) and (not tokenizer or any((folder / name).is_file() for name in TOKENIZERS))


def _has_weights(folder: Path) -> bool:
    if not (folder / "config.json").is_file():
        return False
    if (folder / WEIGHTS).is_file():
        return True
    try:
        names = read_json(folder / INDEX).get("weight_map")
    except MoodLensError:
        return False
    return isinstance(names, dict) and all((folder / str(name)).is_file() for name in names.values())


def snapshot(repo: str, revision: str = "", *, thing: str, instead: str, tokenizer: bool = True) -> Path:
    """Return the folder of a hub model, cached or downloaded.

    Args:
        repo: the hub id.
        revision: branch, tag or commit; empty is the default branch.
        thing: what the error message calls it.
        instead: what the error message advises apart from downloading.
        tokenizer: whether a part without a tokenizer is asked for again.

    Raises:
        UsageError: it is not whole in the cache, and the hub has no such model or revision, cannot be
            reached, or has pickled weights alone.
    """
    folder = cached(repo, revision)
    if folder is not None and is_whole(folder, tokenizer=tokenizer):
        return folder
    place = "hub" if folder is None else f"hub; {folder} holds a part of it"
    downloaded = _downloaded(repo, revision, thing, instead, place)
    if _has_weights(downloaded):
        return downloaded  # without a tokenizer if the hub has none, which `verify_checkpoint` then says
    rule = "hold a configuration and safetensors weights in transformers layout"
    if _is_pickled(downloaded):
        got, source, advice = "pickles alone", downloaded, "Run"
    else:
        got, source = "no model.safetensors", Path("FOLDER")
        at = f" --revision {revision}" if revision else ""
        advice = f"Run `hf download {repo}{at} --local-dir FOLDER`, then"
    advice += f" `moodlens models convert {source} TARGET`, which reads pickles as tensors alone, and set"
    advice += f" model.id to TARGET, or {instead}"
    raise UsageError(must(thing, rule, got, where=f"hub, {downloaded.name}", next_step=advice))


def _is_pickled(folder: Path) -> bool:
    """Say whether a folder has a configuration and pickled weights."""
    pickles = [path for pattern in PICKLED for path in folder.glob(pattern)]
    return (folder / "config.json").is_file() and bool(pickles)


def _downloaded(repo: str, revision: str, thing: str, instead: str, place: str) -> Path:
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repo, **_wanted(revision)))
    except Exception as error:  # its HTTP client has errors of its own, in a package that changes its name
        kinds = {kind.__name__ for kind in type(error).__mro__}
        named = f"{repo} at revision {revision}" if revision else repo
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if "RevisionNotFoundError" in kinds:
        advice = "Correct model.revision (a branch, tag or commit); empty is the default branch"
        raise UsageError(must("model.revision", f"exist in {repo}", revision, where="hub", next_step=advice))
    if "GatedRepoError" in kinds:
        advice = f"Accept its terms at its page and run `hf auth login`, or {instead}"
        raise UsageError(must(thing, "be open to you", "a gated model", where=named, next_step=advice))
    if kinds & {"RepositoryNotFoundError", "HFValidationError"}:
        advice = f"Correct the id, run `hf auth login` if the model is private, or {instead}"
        raise UsageError(must(thing, "exist on the hub", named, next_step=advice))
    at = f" --revision {revision}" if revision else ""
    advice = f"Run `hf download {repo}{at}` where the hub can be reached (HF_HUB_OFFLINE unset; HF_ENDPOINT"
    advice += f" and HTTPS_PROXY correct), or {instead}"
    got = f"{reason[:200]} ({named})" if revision else reason[:200]
    raise UsageError(must(thing, "be cached or downloadable", got, where=place, next_step=advice))


def _wanted(revision: str) -> dict[str, Any]:
    return {"revision": revision or None, "allow_patterns": list(MODEL_FILES)}
