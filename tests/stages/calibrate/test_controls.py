"""Another model's null-text states on the clips of a workspace: the reader by hand."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from moodlens.contracts.backend import Capture, States
from moodlens.params.pipeline import Model
from moodlens.stages.calibrate import controls
from moodlens.stats.design import design_of
from moodlens.stats.strata import Strata
from moodlens.store.shards import write_shard
from moodlens.workspace.design import Workspace
from moodlens.workspace.reencoded import Reencoded
from tests.stages.planted import planted_params


class Echo:
    """A model whose state in layer L at step s is the token of codebook L in frame s."""

    def __init__(self) -> None:
        self.asked: list[tuple[Sequence[str | None], Capture]] = []

    def teacher_force(self, codes: np.ndarray, texts: Sequence[str | None], capture: Capture) -> States:
        self.asked.append((texts, capture))
        layers = codes.transpose(1, 0, 2)[..., None].astype(np.float32)
        return States({f"residual.{number}/cond": states for number, states in enumerate(layers)})


def states_of(root: Path) -> Reencoded:
    """Five clips of three prompts in two shards, (codebook, frame) each; frames 1 and 3 are read."""
    clips = [
        [[9, 1, 0, 0], [0, 0, 7, 3]],  # prompt 0
        [[0, 3, 8, 2], [5, 0, 0, 5]],  # prompt 0
        [[7, 2, 0, 5], [0, 1, 2, 0]],  # prompt 1
        [[0, 4, 9, 5], [0, -1, 9, 2]],  # prompt 1
        [[3, 7, 0, 0], [8, 3, 0, 1]],  # prompt 2
    ]
    shards = {0: (0, 2, 4), 1: (1, 3)}  # clips do not lie in the order of the table
    table = pd.DataFrame({"prompt": [0, 0, 1, 1, 2], "shard": 0, "row": 0})
    for shard, members in shards.items():
        write_shard(
            root / "data" / "codes" / f"shard-{shard:04d}.safetensors",
            {"codes": np.array([clips[i] for i in members], np.int16)},
        )
        table.loc[list(members), "shard"] = shard
        table.loc[list(members), "row"] = np.arange(len(members))
    design = design_of(["a", "b", "c", "d"], ["happy", "happy", "sad", "sad"], ["u", "v", "w", "x"])
    work = Workspace(root, design, np.arange(4), 4, Strata(np.zeros(4, np.int64), (), ()))
    states = Reencoded(work, {"steps": [1, 3], "hookpoints": ["embedding.0", "residual.0", "residual.1"]})
    vars(states)["clips"] = table  # a table of three columns in place of the file
    return states


def test_the_reader_of_another_model_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model, loaded = Echo(), []

    def load(asked: Model, root: Path) -> Echo:
        loaded.append((asked, root))
        return model

    monkeypatch.setattr(controls, "catalog", SimpleNamespace(load=load))
    params = planted_params()
    reader = controls.read_by("organism-shuffled", params, states_of(tmp_path), tmp_path)
    assert reader.name == "organism-shuffled"
    assert loaded == [(replace(params.model, id="organism-shuffled"), tmp_path)]
    assert [texts for texts, _ in model.asked] == [[None]] * 5
    assert {(c.sites, c.half, c.layers) for _, c in model.asked} == {(("residual",), "cond", None)}
    # the mean of each prompt's clips, less the mean of the prompts
    centred = {
        (0, 0): [-2, -1, 3],  # step 1, layer 0: means 2, 3, 7
        (0, 1): [-1, -1, 2],  # means 0, 0, 3
        (1, 0): [-1, 3, -2],  # step 3: means 1, 5, 0
        (1, 1): [2, -1, -1],  # means 4, 1, 1
    }
    assert reader.grams.shape == (2, 2, 3, 3)
    for at, values in centred.items():
        gram = np.outer(values, values)
        np.testing.assert_allclose(reader.grams[at], gram * 3 / np.trace(gram), atol=1e-12)
