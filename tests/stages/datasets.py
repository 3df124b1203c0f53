"""A small workspace: the stages up to `acoustics` run for real on the tiny model."""

from dataclasses import replace
from pathlib import Path

import yaml

from moodlens.params.pipeline import Params, parse_params
from moodlens.stages import acoustics, embed
from moodlens.stages.generate import stage as generate
from moodlens.stages.reencode import stage as reencode
from tests.stages.prompted import write_prompts
from tests.tiny_model import save_tiny_model

ROOT = Path(__file__).parents[2]


def small_params(model: Path, n_per_emotion: int = 3) -> Params:
    """The project's parameters at the smallest lawful size; noise of an untrained model may be faint."""
    params = parse_params(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    return replace(
        params,
        model=replace(params.model, id=str(model)),
        prompts=replace(params.prompts, n_per_emotion=n_per_emotion, sets=("generic",)),
        generate=replace(params.generate, n_seeds=1, duration_s=0.6, clips_per_shard=4),
        reencode=replace(params.reencode, n_steps=3, recurrent_steps=8),
        check=replace(params.check, min_clips_per_emotion=3, min_rms=1e-9, min_step_change=1e-6),
        compute=replace(params.compute, workers=1),
    )


def make_workspace(root: Path, n_per_emotion: int = 3) -> Params:
    """Write every dataset that `check` reads below `root` and return the parameters they were made with."""
    params = small_params(save_tiny_model(root / "model"), n_per_emotion)
    write_prompts(params, root)
    for stage in (generate, reencode, embed, acoustics):
        stage.run(params, root)
    return params
