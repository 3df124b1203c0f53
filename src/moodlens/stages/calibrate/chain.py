"""`python -m moodlens.stages.calibrate.chain <stage>...`: stages of the main pipeline in one process.

It stops at the first stage that fails, with the exit status, the name and the message of that stage.

Three stages exist here only. `controls` gives other readers of the same clips the model's place in the
finding on null-text states. `memory_share` measures the memory's share and its truth. `naive` is a common but
wrong analysis of the same clips. It takes one decoder layer as captured during generation, a t-test over all
pairs of clips on raw cosines, and a five-fold probe over clips. If both have p < .05, its verdict is "encoded
in the layers".
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from scipy import stats as scipy_stats

from moodlens.base.seeding import rng_for
from moodlens.calibration.instruments import plain_accuracy_of
from moodlens.params.pipeline import Params
from moodlens.stages import load_stage
from moodlens.stages.calibrate import controls, memory_share
from moodlens.stages.shell import QUIET, Stage, run_stage
from moodlens.stats.gram import cosines, site_gram
from moodlens.stats.similarity import naive_t
from moodlens.store.tables import write_metrics
from moodlens.workspace import sites
from moodlens.workspace.design import clip_table, open_workspace
from moodlens.workspace.shards import tensors_of

ALPHA = 0.05


def run(params: Params, root: Path) -> None:
    """Write metrics/naive.json: the verdict of the naive analysis."""
    work = open_workspace(root)
    names = [gram.site for gram in sites.layers(work, twin=False)]
    layer = names[len(names) // 2]
    clips = clip_table(work)
    rows = tensors_of(work, clips, "activations", "summary", [f"{layer}/mean"])[f"{layer}/mean"]
    prompts = clips["prompt"].to_numpy()
    labels = work.design.labels
    paired = naive_t(cosines(site_gram(layer, rows, prompts).values), prompts, labels)
    accuracy = plain_accuracy_of(rows, labels[prompts], rng_for("naive", params.signal.seed))
    n, chance = len(prompts), 1 / work.design.n_classes
    p_probe = float(scipy_stats.binom.sf(round(accuracy * n) - 1, n, chance))
    encoded = paired.t > 0 and paired.p < ALPHA and p_probe < ALPHA
    write_metrics(
        {
            "layer": layer,
            "t": paired.t,
            "p_t": paired.p,
            "accuracy": accuracy,
            "p_probe": p_probe,
            "says": "encoded in the layers" if encoded else "not encoded",
        },
        root / "metrics" / "naive.json",
    )


def main(names: list[str]) -> int:
    """Run the stages in the current workspace and return the exit status of the last one run."""
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    for name in names:
        status = run_stage(name, lambda name=name: _load(name))
        if status != 0:
            print(f"stage {name} stopped", file=sys.stderr)
            return status
    return 0


OWN: Mapping[str, Stage] = {"naive": run, "controls": controls.run, "memory_share": memory_share.run}
"""Stages that exist here only."""


def _load(name: str) -> Stage:
    return OWN[name] if name in OWN else load_stage(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
