"""The length of the clips that a model was trained on, where its publisher or its configuration says it.

    embedded models        `max_length` of generation_config.json, which this project writes
    published MusicGen     30 s (its model card)
    audiocraft folders     `dataset.segment_duration` of xp.cfg

`max_length` of another folder is a setting of its user's generation and says nothing of training.
"""

from pathlib import Path

from moodlens.backends import catalog
from moodlens.backends.audiocraft.converted import is_audiocraft
from moodlens.backends.model_config import frame_rate_of
from moodlens.backends.weight_files import read_json
from moodlens.params.pipeline import Model

PUBLISHED_S = 30.0


def trained_s(model: Model, root: Path) -> float | None:
    """Return the seconds of a clip that the model was trained on, None where that is not known.

    Raises:
        UsageError, ContractError: the model's files cannot be read.
    """
    if model.id == catalog.RANDOM:
        return None
    if model.id in catalog.HUB:
        return PUBLISHED_S
    name = catalog.EMBEDDED.get(model.id, model.id.removeprefix(catalog.AUDIOCRAFT))
    folder = root / Path(name).expanduser()
    if is_audiocraft(folder):
        return _of_audiocraft(folder)
    ours = {(root / place).resolve() for place in catalog.EMBEDDED.values()}
    return _of_embedded(folder) if folder.resolve() in ours and folder.is_dir() else None


def _of_embedded(folder: Path) -> float | None:
    config = read_json(folder / "config.json")
    decoder = config["decoder"]
    n_delays = decoder["num_codebooks"] // decoder.get("audio_channels", 1)
    n_steps = read_json(folder / "generation_config.json").get("max_length")
    if not isinstance(n_steps, int):
        return None
    return (n_steps - n_delays + 1) / frame_rate_of(config["audio_encoder"])


def _of_audiocraft(folder: Path) -> float | None:
    from moodlens.backends.audiocraft.layout import read_package, segment_s
    from moodlens.backends.checkpoint import AUDIOCRAFT_FILES

    return segment_s(read_package(folder / AUDIOCRAFT_FILES[0]).settings)
