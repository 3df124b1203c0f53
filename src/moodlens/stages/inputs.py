"""Stage `inputs`: the files that the parameters name exist, and a stamp of the model, before any work.

DVC stops at a missing dependency with the bare error of the operating system, and only at the stage that
needs it. The outputs of this stage are neither cached nor in git, so every copy of the workspace lacks them:
the stage runs in each experiment of `dvc exp run --queue` or `--temp`, where untracked files are absent.

DVC cannot watch the files of `model.id` itself: it may be a name, a hub id, or a folder anywhere. So this
stage runs at every `dvc repro` and writes the digest of the weights, on which every stage that loads the
model depends. Digests of unchanged files are remembered (`backends.digests`).

It also gives DVC the published run's overview, with which `dvc metrics diff` compares a clone's first run.
"""

import json
from pathlib import Path

from moodlens.backends import catalog
from moodlens.base.errors import ContractError, must
from moodlens.params.pipeline import Params
from moodlens.store.atomic import replacing
from moodlens.store.experiment_copy import require_tracked
from moodlens.store.published_object import remember_published

MARKER = "The files that params.yaml names were here when stage `inputs` last ran.\n"
"""Constant, so that no later stage runs again because this one did."""
STAMP = Path("data") / "model.json"
"""Digest of the model: configuration, weights and tokenizer."""


def run(params: Params, root: Path) -> None:
    """Write data/inputs.txt and data/model.json if the caption table and the model are here.

    Raises:
        UsageError: one of them is untracked, and this copy of the workspace lacks it; or as `catalog.find`.
        ContractError: there is no caption table, or the model is damaged.
    """
    table = params.prompts.table_path
    require_tracked("prompts.table_path", table, root)
    if not (root / table).is_file():  # DVC does not expand ~ in a dependency either
        advice = "Set it to a CSV of captions; data/captions.csv is the one without captions"
        raise ContractError(must("prompts.table_path", "name a file", table, next_step=advice))
    source = catalog.find(params.model, root)
    with replacing(root / STAMP) as temporary:
        stamp = {"model": source.weights_sha256}
        temporary.write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
    remember_published(root)
    with replacing(root / "data" / "inputs.txt") as temporary:
        temporary.write_text(MARKER, encoding="utf-8")
