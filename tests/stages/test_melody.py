"""A melody model through the stages that load it: its self-tests pass under the default padding of texts."""

from dataclasses import replace
from pathlib import Path

import pytest

from moodlens.backends.audiocraft.convert import convert
from moodlens.stages import embed
from moodlens.stages.forks import stage as forks
from moodlens.stages.generate import stage as generate
from moodlens.stages.interchange import stage as interchange
from moodlens.stages.reencode import stage as reencode
from moodlens.store.tables import read_metrics
from tests.stages.datasets import small_params
from tests.stages.prompted import write_prompts
from tests.tiny_audiocraft import give_melody_parts, save_tiny_audiocraft


@pytest.mark.parametrize("half", ["cond", "both"])
def test_the_stages_finish_and_null_text_tells_nothing_of_the_prompt(
    tiny_t5: Path, tmp_path: Path, half: str, monkeypatch: pytest.MonkeyPatch
):
    give_melody_parts(monkeypatch)
    model = convert(save_tiny_audiocraft(tmp_path / "audiocraft", tiny_t5, "melody"), tmp_path / "model")
    params = small_params(model, n_per_emotion=4)
    generating = replace(params.generate, attention=False, half=half)
    params = replace(params, prompts=replace(params.prompts, sets=("generic", "descriptive")))
    params = replace(params, generate=generating)
    write_prompts(params, tmp_path)
    for stage in (generate, reencode, embed, forks, interchange):
        stage.run(params, tmp_path)
    measured = read_metrics(tmp_path / "metrics" / "reencode.json")
    assert measured["null_difference"] == 0
    assert float(str(measured["forced_difference"])) <= params.reencode.tolerance
    for name in ("forks", "interchange"):
        assert "prepends its text" in str(read_metrics(tmp_path / "metrics" / f"{name}.json"))
