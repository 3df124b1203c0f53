"""The chapters on attention and acoustics: what they say, mark and draw, on measured planted workspaces."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moodlens.params.pipeline import Params
from moodlens.report.attention import attention_finding
from moodlens.report.relate import relate_finding
from moodlens.stages import attention, relate
from moodlens.stages.report import chapters
from tests.stages.planted import plant, planted_params
from tests.stages.test_attention import plant_attention


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Path]:
    root = tmp_path_factory.mktemp("chapters")
    params = planted_params()
    params = replace(
        params,
        attention=replace(params.attention, n_permutations=999, n_bootstrap=100),
        relate=replace(params.relate, n_permutations=199, n_bootstrap=100),
    )
    plant(root, "organism", params)
    plant_attention(root)
    for stage in (attention, relate):
        stage.run(params, root)
    return params, root


def chapter(root: Path, params: Params, key: str):
    (found,) = (each for each in chapters.chapters_of(root, params) if each.key == key)
    return found.finding


def test_attention_names_its_head_its_controls_and_claims_no_cause(measured):
    params, root = measured
    finding = chapter(root, params, "attention")
    assert finding.summary.startswith("1 of 6 heads attend more to emotion words than to matched words")
    assert "largest at layer 1 head 2" in finding.summary
    assert "Attention is descriptive" in finding.summary
    rows = {cells[0].text: cells[1].mark for cells in finding.grids[0].rows}
    assert [name for name, mark in rows.items() if mark] == ["layer 1 head 2"]
    heads, time = finding.figures
    assert "p < 0.05 after maxT over all heads, 64 prompts, 36 wordings" in heads.caption
    assert ">Reach of self-attention<" in heads.svg
    assert "bands: 95\u202f% bootstrap over wordings" in time.svg
    assert all(f">{name}<" in time.svg for name in ("happy", "sad", "calm", "energetic", "uniform"))


def test_acoustics_stand_beside_text_tokens_and_the_untrained_twin(measured):
    params, root = measured
    finding = chapter(root, params, "relate")
    assert "of the clips clearly match their prompt" in finding.summary
    assert "where the text is constant" in finding.summary
    names = [cells[0].text for cells in finding.grids[0].rows]
    assert names == [
        "0", "1", "2", "twin 0", "twin 1", "twin 2", "audio tokens", "text encoder", "words",
    ]  # fmt: skip
    distances, descriptors = finding.figures
    drawn = ("model", "untrained twin", "model, within emotions", "text encoder", "audio tokens", "words")
    assert all(f">{name}<" in distances.svg for name in (*drawn, "none"))
    assert ">Same prompt, other seed<" in descriptors.svg
    assert ">mode margin<" in descriptors.svg


def test_a_run_that_captured_nothing_or_has_not_run_has_no_chapter(measured, tmp_path: Path):
    params, _ = measured
    assert chapter(tmp_path, params, "attention") is None
    assert chapter(tmp_path, params, "relate") is None
    attention.run(replace(params, generate=replace(params.generate, attention=False)), tmp_path)
    assert chapter(tmp_path, params, "attention") is None


def test_one_clip_per_prompt_leaves_out_the_figure_of_the_other_seed(measured):
    _, root = measured
    found = chapters.stored_metrics(root, "relate")
    assert found is not None
    found.pop("within_prompts")
    rows = chapters.stored_rows(root, "relate_descriptors")
    layers = chapters.stored_rows(root, "relate_layers")
    assert rows is not None
    assert layers is not None
    empty = dict.fromkeys((key for key in rows[0] if key.startswith("r2_within")), np.nan)
    finding = relate_finding(found, layers, [{**row, **empty} for row in rows], 0.05, 0.95)
    assert "Same prompt, other seed" not in finding.figures[1].svg
    assert "where the text is constant" not in finding.summary


def test_the_same_rows_give_the_same_picture(measured):
    _, root = measured
    stored = chapters.stored_metrics(root, "attention")
    heads, curves = (chapters.stored_rows(root, f"attention_{name}") for name in ("heads", "time"))
    assert stored is not None
    assert heads
    assert curves
    first, second = (attention_finding(stored, heads, curves, 0.05, 0.95) for _ in range(2))
    assert first == second
