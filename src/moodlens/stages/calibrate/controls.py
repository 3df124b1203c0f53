"""Negative controls of the finding on null-text states: other readers of the same clips in the model's place.

They run in a workspace whose clips were read again, as a step of `stages.calibrate.chain`. Decoders that no
emotion word has taught, and the running mean of an untrained decoder, are given the test of the model. None
may pass: the finding would then say nothing of the model's training on text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from moodlens.backends import catalog
from moodlens.contracts.backend import Capture
from moodlens.contracts.tensors import MEMORIES
from moodlens.null_text.readers import Reader
from moodlens.null_text.untrained_memory import MemoryTest
from moodlens.params.pipeline import Params
from moodlens.stages.null_text import memory_test
from moodlens.stats.gram import prompt_grams, site_gram
from moodlens.store.tables import write_metrics
from moodlens.workspace.design import open_workspace
from moodlens.workspace.reencoded import FEWEST_DRAWS, Reencoded, open_reencoded
from moodlens.workspace.shards import tensors_of

OTHERS = ("organism-shuffled", "organism-music-only")
UNTRAINED = "untrained running mean"
DRAWS = FEWEST_DRAWS + 1
"""Untrained decoders of a workspace with controls: one takes the model's place, five are compared with."""
RUNNING_MEAN = MEMORIES.index("running mean")


@dataclass(frozen=True)
class _FirstDraws(Reencoded):
    """The same workspace without its last untrained decoder, which takes the model's place."""

    @property
    def n_draws(self) -> int:
        return super().n_draws - 1


def run(params: Params, root: Path) -> None:
    """Write metrics/controls.json: for each control, its few-shot area, p, and whether the finding passes."""
    states = open_reencoded(open_workspace(root))
    section, level = params.null_text, params.decide.alpha_weak / 2
    others = _FirstDraws(states.work, states.manifest)
    mean = replace(states.memories(others.n_draws)[RUNNING_MEAN], name=UNTRAINED)
    tested = {UNTRAINED: memory_test(mean, others, section)}
    for name in OTHERS:
        reader = read_by(name, params, states, root)
        tested[name] = memory_test(reader, states, section)
    write_metrics(
        {name: _metrics(test, level) for name, test in tested.items()}, root / "metrics" / "controls.json"
    )


def _metrics(test: MemoryTest, level: float) -> dict[str, object]:
    families = (*test.families, test.best)
    return {
        "area": test.area,
        "p": test.p,
        "claimed": all(each.difference > 0 and each.p < level for each in families),
        "not_beaten": [each.family for each in families if not (each.difference > 0 and each.p < level)],
    }


def read_by(name: str, params: Params, states: Reencoded, root: Path) -> Reader:
    """Return the null-text states of another embedded model on the clips of a workspace, as a reader."""
    backend = catalog.load(replace(params.model, id=name), root)
    codes = tensors_of(states.work, states.clips, "codes", "shard", ["codes"])["codes"]
    hookpoints = tuple(states.hookpoints)
    capture = Capture(sites=tuple({name.split(".")[0] for name in hookpoints}), half="cond")
    rows = []
    for clip in codes:
        made = backend.teacher_force(clip[None], [None], capture)
        rows.append([made.values[f"{hookpoint}/cond"][0, states.steps] for hookpoint in hookpoints])
    return Reader(name, np.stack([_layers(rows, step, states.prompts) for step in range(len(states.steps))]))


def _layers(rows: Sequence[Sequence[np.ndarray]], step: int, prompts: np.ndarray) -> np.ndarray:
    """Return the Gram matrices of every layer at one stored step, (layer, prompt, prompt)."""
    n_layers = len(rows[0])
    sites = [
        site_gram("a control", np.stack([clip[layer][step] for clip in rows]), prompts)
        for layer in range(n_layers)
    ]
    return prompt_grams(sites)
