"""`moodlens models`: list, download, convert and verify models.

moodlens models list                     print id, size, licence and folder; with --checksum the SHA-256
moodlens models download MODEL           print the licence, then download a published model to the hub's cache
moodlens models convert SOURCE TARGET    convert a folder in audiocraft layout, or with pickled weights
moodlens models verify MODEL             check layout, configuration and files of an id or a folder
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moodlens.backends import catalog, hub
from moodlens.backends.audiocraft.converted import cache_folder, is_audiocraft
from moodlens.backends.checkpoint import AUDIOCRAFT_FILES, Checkpoint, verify_checkpoint
from moodlens.backends.digests import file_digest
from moodlens.base.errors import MoodLensError, UsageError, must
from moodlens.params.pipeline import Model

PUBLISHED_LICENCE = "CC-BY-NC 4.0"
EMBEDDED_LICENCE = "Apache-2.0"
PARAMETERS = {"small": "0.3 B", "medium": "1.5 B", "melody": "1.5 B", "large": "3.3 B"}
"""Decoder parameters by size (audiocraft `MusicGen.get_pretrained`)."""

NOT_CACHED = "not cached"


def add_commands(subparsers: Any) -> None:
    """Add `models` with its four commands, which `run` executes."""
    models = subparsers.add_parser("models", help="list, download, convert and verify models")
    commands = models.add_subparsers(dest="models_command", required=True)
    listing = commands.add_parser("list", help="print id, size, licence and folder of each model")
    listing.add_argument(
        "--checksum", action="store_true", help="also print the SHA-256 of each local model (reads its files)"
    )
    downloading = commands.add_parser("download", help="download a published model to the hub's cache")
    downloading.add_argument("model", help="a hub id: from `moodlens models list`, or a fine-tune, user/name")
    downloading.add_argument("--revision", default="", help="branch, tag or commit; default: default branch")
    converting = commands.add_parser(
        "convert", help="convert audiocraft layout or pickled weights to transformers layout (safetensors)"
    )
    files = " and ".join(AUDIOCRAFT_FILES)
    converting.add_argument("source", type=Path, help=f"folder with {files}, or with pytorch_model.bin")
    converting.add_argument("target", type=Path, help="folder to create")
    converting.add_argument(
        "--text-encoder", type=Path, help="folder of the T5; default: the T5 that the configuration names"
    )
    verifying = commands.add_parser("verify", help="check layout, configuration and files; print the SHA-256")
    verifying.add_argument("model", help="an id from `moodlens models list`, or a folder")
    verifying.add_argument("--revision", default="", help="branch, tag or commit of a hub model")


def run(chosen: argparse.Namespace, root: Path) -> str:
    """Execute a `models` command and return its output.

    Raises:
        MoodLensError: the model is absent, refused or damaged.
    """
    if chosen.models_command == "convert":
        return "converted\n" + _described(verify_checkpoint(_converted(chosen)))
    if chosen.models_command == "download":
        return downloaded(chosen.model, chosen.revision)
    if chosen.models_command == "verify":
        return verified(chosen.model, chosen.revision, root)
    return listed(root, chosen.checksum)


def _converted(chosen: argparse.Namespace) -> Path:
    if (chosen.source / "config.json").is_file():
        from moodlens.backends.pickles import convert_pickles

        return convert_pickles(chosen.source, chosen.target)
    from moodlens.backends.audiocraft.convert import convert

    return convert(chosen.source, chosen.target, chosen.text_encoder)


def listed(root: Path, checksum: bool = False) -> str:
    """Return one line per model: id, decoder parameters, licence, bytes on disk, folder."""
    rows = [("model", "decoder", "licence", "on disk", "where")]
    folders: list[tuple[str, str, str, Path | None]] = [
        (name, "", EMBEDDED_LICENCE, root / folder) for name, folder in catalog.EMBEDDED.items()
    ]
    folders += [(repo, _parameters(repo), PUBLISHED_LICENCE, hub.cached(repo)) for repo in catalog.HUB]
    if cache_folder().is_dir():
        folders += [
            (f"converted {path.name[:8]}", "", "as its source", path)
            for path in sorted(cache_folder().iterdir())
            if path.is_dir()
        ]
    for name, parameters, licence, folder in folders:
        if folder is None or not folder.is_dir():
            rows.append((name, parameters, licence, "", NOT_CACHED))
            continue
        where = str(folder) if any(folder.glob("*.safetensors")) else f"{folder} (no weights)"
        if checksum:
            where += f"  sha256 {_checksum(folder)}"
        rows.append((name, parameters, licence, _size(folder.glob("*.safetensors")), where))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]])
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def downloaded(model_id: str, revision: str) -> str:
    """Download a model of the hub and return its folder, licence and checksum.

    Raises:
        UsageError: it is no hub id, or the hub cannot be reached or has no such model or revision.
        ContractError: a downloaded file is damaged.
    """
    published = model_id in catalog.HUB
    if not published and (not hub.is_hub_id(model_id) or model_id.startswith(catalog.PUBLISHER)):
        advice = catalog.advice_for(model_id)
        raise UsageError(must("the model", "be a hub id of a MusicGen", model_id, next_step=advice))
    licence = PUBLISHED_LICENCE if published else "as its page on the hub says"
    parameters = f"{_parameters(model_id)} parameters, " if published else ""
    print(f"{model_id}: {parameters}weights under {licence}", flush=True)
    instead = "copy a downloaded folder here and name it in model.id"
    folder = hub.snapshot(model_id, revision, thing=model_id, instead=instead)
    return f"revision  {folder.name}\nlicence   {licence}\n" + _described(verify_checkpoint(folder))


def verified(model_id: str, revision: str, root: Path) -> str:
    """Return layout, sizes and checksum of a model, after the checks that loading it would make.

    Raises:
        UsageError, ContractError: it cannot be loaded.
    """
    folder = root / Path(model_id).expanduser()
    if model_id not in catalog.EMBEDDED and model_id and is_audiocraft(folder):
        return _audiocraft_described(folder)
    source = catalog.find(Model(model_id, revision, "float32", "cpu"), root)
    if model_id.startswith(catalog.AUDIOCRAFT):
        return _described(source.checkpoint, f"audiocraft, {source.checkpoint.config['model_type']}")
    return _described(source.checkpoint)


def _described(checkpoint: Checkpoint, layout: str = "") -> str:
    """Return the description; a folder in transformers layout is compared with its configuration first."""
    if not layout:
        from moodlens.backends.musicgen.loading import check_loadable

        check_loadable(checkpoint)
    decoder = checkpoint.config["decoder"]
    kind = checkpoint.config["model_type"]
    return "\n".join(
        [
            f"folder    {checkpoint.folder}",
            f"layout    {layout or f'transformers, {kind}'}, {decoder['audio_channels']} channel(s)",
            f"decoder   {decoder['num_hidden_layers']} layers x {decoder['hidden_size']}, "
            f"{decoder['num_codebooks']} codebooks x {decoder['vocab_size']}",
            f"weights   {_size(checkpoint.weights)}, sha256 {checkpoint.sha256}",
            "pipeline  yes" + (", text only (no melody can be given)" if "melody" in kind else ""),
        ]
    )


def _audiocraft_described(folder: Path) -> str:
    """Return the description of a folder that is converted on use, after all checks of a conversion."""
    from moodlens.backends.audiocraft import config
    from moodlens.backends.audiocraft.convert import assembled
    from moodlens.backends.audiocraft.layout import read_packages

    assembled(folder)
    language, codec = read_packages(folder)
    settings = language.settings
    lm = settings.need("transformer_lm")
    kind = "melody" if config.is_melody(settings) else "text"
    digests = [
        f"weights   {name} {_size([folder / name])}, sha256 {file_digest(folder / name)}"
        for name in AUDIOCRAFT_FILES
    ]
    return "\n".join(
        [
            f"folder    {folder}",
            f"layout    audiocraft, {kind}, {config.audio_channels(settings)} channel(s)",
            f"decoder   {lm['num_layers']} layers x {lm['dim']}, {lm['n_q']} codebooks x {lm['card']}",
            f"codec     {codec.pretrained or str(len(codec.weights)) + ' tensors'}",
            f"text      {config.text_encoder_name(settings)} (not in the folder)",
            *digests,
            "pipeline  yes, converted once" + (", text only" if kind == "melody" else ""),
        ]
    )


def _parameters(repo: str) -> str:
    words = repo.rsplit("musicgen-", 1)[-1].split("-")
    return PARAMETERS["large" if "large" in words else next(word for word in words if word in PARAMETERS)]


def _checksum(folder: Path) -> str:
    try:
        return verify_checkpoint(folder).sha256
    except MoodLensError as error:
        return f"not computed: {error}"


def _size(files: Iterable[Path]) -> str:
    n_bytes = sum(path.stat().st_size for path in files)
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"
