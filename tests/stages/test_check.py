"""The stage on real datasets of the tiny model: passes, and stops at every planted fault with one line."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moodlens.base.errors import ContractError
from moodlens.contracts.tables import ACTIVATIONS, PROMPTS, REENCODED, SELFTESTS, SWAPS, Table
from moodlens.params.pipeline import Params
from moodlens.stages import check
from moodlens.store.shards import read_shard, write_shard
from moodlens.store.tables import read_table, write_table
from tests.stages.datasets import make_workspace

SUITES = ["acoustics", "activations", "audio", "embeddings", "prompts", "reencoded"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    root = tmp_path_factory.mktemp("made")
    return root, make_workspace(root)


@pytest.fixture
def workspace(made: tuple[Path, Params], tmp_path: Path) -> tuple[Path, Params]:
    """A copy of the datasets that a test may break."""
    shutil.copytree(made[0] / "data", tmp_path / "data")
    return tmp_path, made[1]


def metrics(root: Path) -> dict:
    return json.loads((root / "metrics" / "check.json").read_text(encoding="utf-8"))


def pages(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "reports" / "checks").glob("*.html"))


def edit(root: Path, table: Table, path: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    write_table(change(read_table(table, root / "data" / path)), table, root / "data" / path)


def test_real_datasets_pass_and_leave_pages_and_metrics(workspace: tuple[Path, Params]):
    root, params = workspace
    check.run(params, root)
    found = metrics(root)
    assert found["success"] is True
    assert (found["n_failed"], found["failures"]) == (0, [])
    assert sorted(found["suites"]) == pages(root) == SUITES
    assert found["n_expectations"] == sum(suite["n_expectations"] for suite in found["suites"].values())
    assert found["suites"]["activations"]["n_rows"] == 12 * 2
    for name in SUITES:
        page = (root / "reports" / "checks" / f"{name}.html").read_text(encoding="utf-8")
        assert "passed" in page
        assert "://" not in page


def overwritten(root: Path) -> None:
    """The bug that assigns instead of appending: every stored step is the last one."""
    edit(
        root, ACTIVATIONS, "activations/index.parquet", lambda f: f.assign(step_change=0.0, dead_fraction=1.0)
    )


def lost_layer(root: Path) -> None:
    edit(root, ACTIVATIONS, "activations/index.parquet", lambda f: f[f["row_id"] != f["row_id"][7]])


def repeated_prompt(root: Path) -> None:
    edit(root, PROMPTS, "prompts.csv", lambda f: f.assign(text=[f["text"][0], f["text"][0], *f["text"][2:]]))


def cut_audio(root: Path) -> None:
    path = sorted((root / "data" / "audio").glob("*.flac"))[3]
    path.write_bytes(path.read_bytes()[:-50])


def lost_audio(root: Path) -> None:
    sorted((root / "data" / "audio").glob("*.flac"))[3].unlink()


def cut_shard(root: Path) -> None:
    path = root / "data" / "activations" / "shard-0001.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def stuck_tokens(root: Path) -> None:
    path = root / "data" / "codes" / "shard-0000.safetensors"
    tensors = read_shard(path)
    write_shard(path, {"codes": np.full_like(tensors["codes"], 7)})


FAULTS = {
    stuck_tokens: r"audio\.tokens\.distinct_frames must lie in 0\.1 \.\. 1; got 0\.03.* Generation is stuck",
    overwritten: r"activations\.step_change must be at least 1e-06; got 0\.0 \(row happy-00-s0/residual"
    r".* a hook overwrites instead of appending",
    lost_layer: r"activations\.complete\.n_rows must be 1; got 0 \(row \w+-\d+-s0/residual",
    repeated_prompt: r"prompts\.text must be unique; got '.*' \(row happy-00",
    cut_audio: r"audio\.state must be readable; got 'unreadable' \(row \w+-\d+-s0",
    cut_shard: r"activations\.shards\.state must be readable; got 'unreadable' \(row activations/shard-0001",
}


def test_planted_faults_are_all_named_and_the_first_one_stops_the_pipeline(workspace: tuple[Path, Params]):
    root, params = workspace
    for plant in FAULTS:
        plant(root)
    strict = replace(params, check=replace(params.check, min_clips_per_emotion=4))
    with pytest.raises(ContractError) as caught:
        check.run(strict, root)
    found = metrics(root)
    assert found["success"] is False
    lines = [*FAULTS.values(), r"audio\.emotions\.n_rows must be at least 4; got 3 \(row happy"]
    for line in lines:
        assert any(re.match(line, failure) for failure in found["failures"]), (line, found["failures"])
    assert str(caught.value).startswith(found["failures"][0])
    assert str(caught.value).endswith(
        f" {found['n_failed'] - 1} more failed. See reports/checks/prompts.html."
    )
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert pages(root) == SUITES
    failed = {name for name, suite in found["suites"].items() if not suite["success"]}
    assert failed == {"activations", "audio", "prompts"}
    for name in SUITES:
        page = (root / "reports" / "checks" / f"{name}.html").read_text(encoding="utf-8")
        assert ("What failed" in page) == (name in failed)


def test_one_lost_file_is_one_line(workspace: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch):
    root, params = workspace
    lost_audio(root)
    whole = check.suites_of
    monkeypatch.setattr(check, "suites_of", lambda *given: {"audio": whole(*given)["audio"][:1]})
    line = (
        r"^audio\.state must be readable; got 'missing' \(row \w+-\d+-s0, expect_column_values_to_be_in_set, "
    )
    with pytest.raises(
        ContractError, match=line + r"1 of 12 rows\)\. .*\. See reports/checks/audio\.html\.$"
    ):
        check.run(params, root)


def test_a_missing_dataset_is_one_line(workspace: tuple[Path, Params]):
    root, params = workspace
    (root / "data" / "acoustics.parquet").unlink()
    with pytest.raises(ContractError, match="table acoustics must exist as a file"):
        check.run(params, root)


@pytest.mark.parametrize(
    "lie",
    [
        {},
        {"model": []},
        {"model": {"n_layers": "x"}},
        {"capture": 3},
        {"capture": {}},
        {"capture": {"pooled_only": 2}},
    ],
    ids=str,
)
def test_a_manifest_that_parses_and_lies_is_one_line(workspace: tuple[Path, Params], lie: dict):
    root, params = workspace
    path = root / "data" / "activations" / "manifest.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(whole | lie if lie else {}), encoding="utf-8")
    with pytest.raises(ContractError, match=r"data/activations/manifest\.json must") as caught:
        check.run(params, root)
    assert "\n" not in str(caught.value)


def lost_reading(root: Path) -> None:
    edit(root, REENCODED, "reencoded/index.parquet", lambda f: f[f["row_id"] != f["row_id"][7]])


def wide_reading(root: Path) -> None:
    edit(root, REENCODED, "reencoded/index.parquet", lambda f: f.assign(width=[9, *f["width"][1:]]))


def infinite_reading(root: Path) -> None:
    edit(root, REENCODED, "reencoded/index.parquet", lambda f: f.assign(finite_fraction=0.5))


def own_text(root: Path) -> None:
    edit(root, SWAPS, "reencoded/swaps.parquet", lambda f: f.assign(swapped_emotion=f["emotion"]))


def drifted(root: Path) -> None:
    edit(root, SELFTESTS, "reencoded/selftests.parquet", lambda f: f.assign(forced_difference=0.5))


def leaking(root: Path) -> None:
    edit(root, SELFTESTS, "reencoded/selftests.parquet", lambda f: f.assign(null_difference=1e-9))


def cut_reading(root: Path) -> None:
    path = root / "data" / "reencoded" / "summary-0001.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


REENCODED_FAULTS = {
    lost_reading: r"reencoded\.complete\.n_rows must be 1; got 0 \(row \w+-\d+-s0/\w+/\w+/residual\.",
    wide_reading: r"reencoded\.width must equal site\.width; got '9 against 32'",
    infinite_reading: r"reencoded\.finite_fraction must be 1; got 0\.5",
    own_text: r"reencoded\.swaps\.changed must be 1; got 0",
    drifted: r"reencoded\.selftests\.forced_difference must lie in 0 \.\. 0\.001; got 0\.5",
    leaking: r"reencoded\.selftests\.null_difference must be 0; got 1e-09",
    cut_reading: r"reencoded\.shards\.state must be readable; got 'unreadable' \(row reencoded/summary-0001",
}


def test_faults_of_the_reencoded_states_are_all_named(workspace: tuple[Path, Params]):
    root, params = workspace
    for plant in REENCODED_FAULTS:
        plant(root)
    with pytest.raises(ContractError, match=r"reencoded\."):
        check.run(params, root)
    found = metrics(root)["failures"]
    for line in REENCODED_FAULTS.values():
        assert any(re.match(line, failure) for failure in found), (line, found)


def test_sixteen_bits_may_drift_by_what_their_rounding_gathers(workspace: tuple[Path, Params]):
    """A model in bfloat16 passed the self-test of `reencode` and was stopped here by float32's limit."""
    root, params = workspace
    halved = replace(params, model=replace(params.model, dtype="bfloat16"))
    edit(root, SELFTESTS, "reencoded/selftests.parquet", lambda f: f.assign(forced_difference=0.2))
    check.run(halved, root)
    edit(root, SELFTESTS, "reencoded/selftests.parquet", lambda f: f.assign(forced_difference=0.3))
    with pytest.raises(ContractError, match=r"forced_difference must lie in 0 \.\. 0\.25; got 0\.3"):
        check.run(halved, root)
