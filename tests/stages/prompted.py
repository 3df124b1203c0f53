"""The prompts of a workspace whose model and design are too small for what stage `prompts` asks of them."""

from pathlib import Path

from moodlens.contracts.tables import PROMPTS
from moodlens.params.pipeline import Params
from moodlens.stages.prompts import drawn_table
from moodlens.store.tables import write_table


def write_prompts(params: Params, root: Path) -> None:
    """Write data/prompts.csv as stage `prompts` does, without asking whether it suffices."""
    write_table(drawn_table(params.prompts, root), PROMPTS, root / "data" / "prompts.csv")
