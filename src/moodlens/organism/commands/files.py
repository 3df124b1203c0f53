"""Where the organism's pipeline keeps what, and how a stage reads what an earlier one made."""

from pathlib import Path

from transformers import EncodecModel, MusicgenForConditionalGeneration

from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import seed_for

CODEC = Path("codec")
TOKENS = Path("tokens.safetensors")
TEXT = Path("text.safetensors")
MUSIC = Path("music.safetensors")
STATES = Path("work/states")
SHUFFLED = Path("shuffled")
METRICS = Path("metrics.json")


def load_codec(folder: Path) -> EncodecModel:
    """Return the trained codec; UsageError if the stage `codec` has not run."""
    return EncodecModel.from_pretrained(present(folder / CODEC)).eval()


def load_model(folder: Path) -> MusicgenForConditionalGeneration:
    """Return a trained model; UsageError if its stage has not run."""
    present(folder / "model.safetensors")
    return MusicgenForConditionalGeneration.from_pretrained(folder).eval()


def corpus_seed(seed: int, part: str) -> int:
    """Return the corpus seed of a part (train, held out): no piece belongs to two parts."""
    return seed_for("corpus", seed, part)


def present(path: Path) -> Path:
    """Return the path; UsageError if the stage that makes it has not run."""
    if not path.exists():
        advice = "Run `dvc repro` in models/organism: an earlier stage makes it"
        raise UsageError(must(str(path), "exist", "nothing", next_step=advice))
    return path
