"""The parts of an audiocraft model that lie outside its folder: the text encoder, and perhaps the codec.

`xp.cfg` names them: a folder of this machine, or a hub id. An export from another machine can name a folder
that is not here; it is refused by that name. No model library is imported.
"""

from hashlib import sha256
from pathlib import Path

from moodlens.backends import hub
from moodlens.backends.digests import file_digest
from moodlens.backends.weight_files import PICKLED, WEIGHTS
from moodlens.base.errors import UsageError, must

FILES = ("*.json", "*.safetensors", "spiece.model", *PICKLED)


def text_encoder_folder(name: str) -> Path:
    """Return the folder of the T5 that a configuration names.

    Raises:
        UsageError: it is a folder that is not here, or no hub id that is cached or downloadable.
    """
    thing, instead = (
        f"text encoder {name}",
        "name a local folder of it: `moodlens models convert --text-encoder`",
    )
    if (folder := Path(name).expanduser()).is_dir():
        if (folder / "config.json").is_file() and (folder / WEIGHTS).is_file():
            return folder
        rule = f"hold config.json and {WEIGHTS}"
        raise UsageError(must(thing, rule, "another folder", where="xp.cfg", next_step=_sentence(instead)))
    if not _may_be_on_hub(name):
        rule = "be a folder on this machine or a hub id"
        raise UsageError(must(thing, rule, "no such folder", where="xp.cfg", next_step=_sentence(instead)))
    known = (hub.cached(repo) for repo in (name, f"google-t5/{name}"))
    whole = next((path for path in known if path is not None and hub.is_whole(path)), None)
    return whole or hub.snapshot(name, thing=thing, instead=instead)


def codec_folder(name: str) -> Path:
    """Return the folder of a codec that a package names, in audiocraft or in transformers layout.

    Raises:
        UsageError: it is a folder that is not here, or no hub id that is cached or downloadable.
    """
    instead = "put the codec's own compression_state_dict.bin into the folder"
    if Path(name).is_dir():
        return Path(name)
    if not _may_be_on_hub(name):
        rule = "be a folder on this machine or a hub id"
        raise UsageError(must(f"codec {name}", rule, "no such folder", next_step=_sentence(instead)))
    return hub.snapshot(name, thing=f"codec {name}", instead=instead, tokenizer=False)


def digest_of(folder: Path) -> str:
    """Return the SHA-256 of the configuration, weights and tokenizer in a folder, "" without such files."""
    paths = sorted({path for pattern in FILES for path in folder.glob(pattern) if path.is_file()})
    digest = sha256()
    for path in paths:
        digest.update(f"{path.name}:{file_digest(path)}".encode())
    return digest.hexdigest() if paths else ""


def _may_be_on_hub(name: str) -> bool:
    """Say whether a name is a hub id; old models have no user: `t5-base`."""
    return hub.is_hub_id(name if "/" in name else f"user/{name}")


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
