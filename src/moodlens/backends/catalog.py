"""The models that a `model.id` can name: where their files are, and how they are loaded.

`find` reads files and, for a hub id, the hub. It imports neither torch nor transformers, so that a stage can
tell finished shards from stale ones before it imports them. `load` is the only way to a backend.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from moodlens.backends import hub
from moodlens.backends.audiocraft.converted import converted, is_audiocraft
from moodlens.backends.checkpoint import Checkpoint, verify_checkpoint
from moodlens.backends.model_config import frame_rate_of
from moodlens.backends.recorded import CLIPS, require_weights
from moodlens.base.errors import ContractError, UsageError, must, nearest
from moodlens.contracts.backend import ModelInfo, MusicBackend
from moodlens.params.pipeline import Model
from moodlens.store.experiment_copy import require_tracked

ORGANISM = "models/organism"
SMALL = {
    f"organism-{name}-small-{seed}": f"{ORGANISM}/small-{seed}/{name}"
    for seed in (1, 2, 3)
    for name in ("memory", "reader")
}
EMBEDDED = {
    "organism": ORGANISM,
    "organism-memory": f"{ORGANISM}/memory",
    "organism-memory-cut": f"{ORGANISM}/memory",
    "organism-reader": f"{ORGANISM}/reader",
    "organism-shuffled": f"{ORGANISM}/shuffled",
    "organism-music-only": f"{ORGANISM}/music-only",
    "organism-random": ORGANISM,
    **SMALL,
}
CUT, CUT_LAYERS = "organism-memory-cut", 3
"""The memory whose text path is cut in its first layers: nothing is remembered in layers 0 to CUT_LAYERS."""
AUDIOCRAFT = "audiocraft:"
"""Prefix of a folder in audiocraft layout that audiocraft itself runs, without conversion."""
RANDOM = "organism-random"
RANDOM_SEED = 1_000_003  # not a seed of baseline twins, or the random organism would be its own twin
CHANGES = {RANDOM: f"untrained:{RANDOM_SEED}", CUT: f"text path cut below layer {CUT_LAYERS}"}
PUBLISHER = "facebook/"
HUB = (
    "facebook/musicgen-small",
    "facebook/musicgen-medium",
    "facebook/musicgen-large",
    "facebook/musicgen-melody",
    "facebook/musicgen-melody-large",
    "facebook/musicgen-stereo-small",
    "facebook/musicgen-stereo-medium",
    "facebook/musicgen-stereo-large",
    "facebook/musicgen-stereo-melody",
    "facebook/musicgen-stereo-melody-large",
)


@dataclass(frozen=True)
class Source:
    """A model that was located and verified, not yet loaded."""

    model_id: str
    revision: str
    checkpoint: Checkpoint
    change: str = ""  # what is done to the weights after loading; empty: nothing

    @property
    def weights_sha256(self) -> str:
        """Digest of the weights; for a changed model, of the change and of the model it is made from."""
        stored = self.checkpoint.sha256
        return sha256(f"{self.change}:{stored}".encode()).hexdigest() if self.change else stored


def find(model: Model, root: Path) -> Source:
    """Return the verified source of `model.id`: an embedded name, a hub id, or a local folder.

    Args:
        model: the section of params.yaml.
        root: workspace; embedded models and relative folders are below it.

    Raises:
        UsageError: the id is unknown, the hub cannot be reached, or the folder is not a MusicGen, pickled, or
            absent from the copy of the workspace in which a queued experiment runs.
        ContractError: a file is missing, truncated or damaged.
    """
    if model.id in EMBEDDED:
        folder = root / EMBEDDED[model.id]
        if not folder.is_dir():
            advice = "Restore it with `git checkout -- models`, or make it with `make organism`"
            raise ContractError(
                must(f"model.id {model.id}", f"be in {EMBEDDED[model.id]}", "nothing", next_step=advice)
            )
        return Source(model.id, "", verify_checkpoint(folder), CHANGES.get(model.id, ""))
    if model.id in HUB:
        instead = "set model.id to a local folder or to organism"
        folder = hub.snapshot(model.id, model.revision, thing=f"model.id {model.id}", instead=instead)
        return Source(model.id, folder.name, verify_checkpoint(folder))
    require_in_copy(model, root)
    if model.id.startswith(AUDIOCRAFT):
        from moodlens.backends.audiocraft.loading import find_audiocraft

        folder = root / Path(model.id.removeprefix(AUDIOCRAFT)).expanduser()
        return Source(model.id, "", find_audiocraft(folder))
    folder = root / Path(model.id).expanduser()
    if model.id and folder.is_dir():
        folder = converted(folder) if is_audiocraft(folder) else folder
        return Source(model.id, "", verify_checkpoint(folder))
    if hub.is_hub_id(model.id) and not model.id.startswith(PUBLISHER):
        instead = f"correct model.id: there is no folder {model.id} here"
        folder = hub.snapshot(model.id, model.revision, thing=f"model.id {model.id}", instead=instead)
        return Source(model.id, folder.name, verify_checkpoint(folder))
    rule = "be an embedded model, a hub id or a folder"
    raise UsageError(must("model.id", rule, model.id, where="params.yaml", next_step=advice_for(model.id)))


def advice_for(model_id: str) -> str:
    """Return what to do about an id that is no model here."""
    if model_id.startswith(f"{PUBLISHER}audiogen"):
        return (
            f"AudioGen is published in audiocraft layout alone: `hf download {model_id} --local-dir FOLDER`,"
            f" then set model.id to {AUDIOCRAFT}FOLDER"
        )
    if model_id.startswith(f"{PUBLISHER}magnet"):
        return "MAGNeT fills sequences in and has no decoder steps; choose a MusicGen"
    advice = nearest(model_id, [*EMBEDDED, *HUB])
    named = next((name for name in HUB if f"'{name}'" in advice), "")
    if named:
        advice += f" `moodlens models download {named}` fetches it"
    if not advice.startswith("Did"):
        advice += ", a hub id (user/name), or a local folder in transformers or audiocraft layout"
    return advice


def require_in_copy(model: Model, root: Path) -> None:
    """Return unless `model.id` is an untracked folder that this copy of the user's workspace lacks.

    Raises:
        UsageError: it is; the message says how a queued experiment can see the folder.
    """
    if model.id not in EMBEDDED and model.id not in HUB:
        require_tracked("model.id", model.id.removeprefix(AUDIOCRAFT), root)


def describe(source: Source, model: Model) -> ModelInfo:
    """Return the description of the model from its configuration alone; nothing is loaded."""
    config = source.checkpoint.config
    text, codec, decoder = config["text_encoder"], config["audio_encoder"], config["decoder"]
    return ModelInfo(
        model_id=source.model_id,
        revision=source.revision,
        weights_sha256=source.weights_sha256,
        n_layers=decoder["num_hidden_layers"],
        d_model=decoder["hidden_size"],
        d_text=text["d_model"],
        n_codebooks=decoder["num_codebooks"],
        codebook_size=decoder["vocab_size"],
        frame_rate_hz=frame_rate_of(codec),
        sample_rate_hz=codec["sampling_rate"],
        dtype=model.dtype,
        device=model.device,
        audio_channels=decoder.get("audio_channels", 1),
    )


def load(
    model: Model, root: Path, block_clips: int = 0, *, recorded: str = "", made: str = CLIPS
) -> MusicBackend:
    """Return the loaded backend of `model.id`.

    Args:
        model: the section of params.yaml.
        root: workspace.
        block_clips: clips generated together; 0 is the backend's default, 16.
        recorded: SHA-256 that the weights must have; empty: any.
        made: what was made with the recorded weights.

    Raises:
        UsageError, ContractError: as `find`; the device is absent; weights do not fit their configuration, or
            are not the recorded ones.
    """
    from dataclasses import replace

    from moodlens.backends.musicgen.loading import load_musicgen

    source = find(model, root)
    if recorded:
        require_weights(source.weights_sha256, recorded, made)
    if model.id.startswith(AUDIOCRAFT):
        from moodlens.backends.audiocraft.loading import load_audiocraft

        return load_audiocraft(source.checkpoint, describe(source, model), model.text_padding)
    backend = load_musicgen(source.checkpoint, describe(source, model), model.text_padding, block_clips)
    if model.id == CUT:
        silence_text_path(list(backend.decoder.layers), CUT_LAYERS)
    if model.id != RANDOM:
        return backend
    twin = backend.random_twin(RANDOM_SEED)
    return twin.with_info(replace(twin.info, model_id=source.model_id, weights_sha256=source.weights_sha256))


def silence_text_path(layers: Sequence[Any], n_layers: int) -> None:
    """Set the output of cross-attention to zero in the first layers: there the text changes no state."""
    for layer in layers[:n_layers]:
        layer.encoder_attn.out_proj.weight.data.zero_()
