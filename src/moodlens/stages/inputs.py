"""Stage `inputs`: the files that the parameters name exist, checked before any work.

DVC stops at a missing dependency with the bare error of the operating system, and only at the stage that
needs it. The marker of this stage is neither cached nor in git, so every copy of the workspace lacks it: the
stage runs in each experiment of `dvc exp run --queue` or `--temp`, where untracked files are absent.
"""

from pathlib import Path

from moodlens.backends.catalog import require_in_copy
from moodlens.base.errors import ContractError, must
from moodlens.params.pipeline import Params
from moodlens.store.atomic import replacing
from moodlens.store.experiment_copy import require_tracked

MARKER = "The files that params.yaml names were here when stage `inputs` last ran.\n"
"""Constant, so that no later stage runs again because this one did."""


def run(params: Params, root: Path) -> None:
    """Write data/inputs.txt if the caption table and a local model folder are in this workspace.

    Raises:
        UsageError: one of them is untracked, and this copy of the workspace lacks it.
        ContractError: there is no caption table.
    """
    table = params.prompts.table_path
    require_tracked("prompts.table_path", table, root)
    if not (root / table).is_file():  # DVC does not expand ~ in a dependency either
        advice = "Set it to a CSV of captions; data/captions.csv is the one without captions"
        raise ContractError(must("prompts.table_path", "name a file", table, next_step=advice))
    require_in_copy(params.model, root)
    with replacing(root / "data" / "inputs.txt") as temporary:
        temporary.write_text(MARKER, encoding="utf-8")
