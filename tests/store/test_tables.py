"""Tables and metrics on disk: same bytes for same rows, whole files only, errors that name the place."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moodlens.base.errors import ContractError
from moodlens.contracts.tables import PROMPTS, Column, Table
from moodlens.store import atomic
from moodlens.store.atomic import replacing
from moodlens.store.audio_files import read_waveform
from moodlens.store.csv_text import read_csv_text
from moodlens.store.tables import (
    conform,
    read_metrics,
    read_table,
    values,
    write_metrics,
    write_plot,
    write_table,
)

TABLE = Table(
    "things",
    "name",
    (
        Column("name", "str", "its name", unique=True),
        Column("n", "int", "how many"),
        Column("x", "float", "how much", nullable=True),
        Column("ok", "bool", "whether"),
    ),
)


def rows() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": ["NA", "null, or 'b'", "ü\n"],
            "n": [1, 2, 3],
            "x": [0.1, np.nan, 1 / 3],
            "ok": [True, False, True],
        }
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_comes_back_as_it_was_and_twice_in_the_same_bytes(tmp_path: Path, suffix: str):
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    write_table(rows()[["ok", "x", "n", "name"]], TABLE, first)
    write_table(rows(), TABLE, second)
    assert first.read_bytes() == second.read_bytes()
    back = read_table(TABLE, first)
    pd.testing.assert_frame_equal(back, conform(rows(), TABLE, "a"))
    assert [str(kind) for kind in back.dtypes] == ["str", "int64", "float64", "bool"]
    assert sorted(os.listdir(tmp_path)) == [first.name, second.name]


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (rows().drop(columns="n"), "things.csv must have the column 'n' of table things; got 'none'"),
        (rows().rename(columns={"n": "nn"}), "Did you mean 'nn'?"),
        (rows().assign(y=1), "things.csv must hold only the columns of table things; got 'y'"),
        (
            rows().assign(n=[1, 2.5, 3]),
            "things.csv column 'n' must hold int values; got 2.5 (row null, or 'b')",
        ),
        (rows().assign(n=[1, np.nan, 3]), "things.csv column 'n' must hold int values; got nan"),
        (rows().assign(x=["a", "b", "c"]), "things.csv column 'x' must hold float values; got 'a' (row NA)"),
        (rows().assign(name=[1, 2, 3]), "things.csv column 'name' must hold str values; got 1"),
        (rows().assign(ok=[1, 0, 1]), "things.csv column 'ok' must hold bool values; got 1"),
    ],
)
def test_what_breaks_the_contract_is_named_and_nothing_is_written(
    tmp_path: Path, broken: pd.DataFrame, line: str
):
    with pytest.raises(ContractError) as caught:
        write_table(broken, TABLE, tmp_path / "things.csv")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_whole_floats_pass_as_ints_and_ints_as_floats():
    frame = conform(rows().assign(n=[1.0, 2.0, 3.0], x=[1, 2, 3]), TABLE, "a")
    assert values(frame, "n") == [1, 2, 3]
    assert values(frame, "x") == [1.0, 2.0, 3.0]


def test_an_empty_text_stays_an_empty_text(tmp_path: Path):
    prompt = {"prompt_id": "a", "emotion": "sad", "valence": None, "arousal": 0.5, "set": "generic"}
    prompt |= {"template": "t", "wording": "", "split": "val", "text": ""}
    write_table(pd.DataFrame([prompt]), PROMPTS, tmp_path / "p.csv")
    back = read_table(PROMPTS, tmp_path / "p.csv")
    assert values(back, "text") == [""]
    assert np.isnan(values(back, "valence")[0])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("content", [b"", b"PAR1 but not", b"\xff\xfe\x00"])
def test_a_damaged_table_is_one_line(tmp_path: Path, suffix: str, content: bytes):
    path = tmp_path / f"t.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ContractError, match=r"things|t\.csv") as caught:
        read_table(TABLE, path)
    assert "\n" not in str(caught.value)


def test_a_truncated_parquet_file_is_one_line(tmp_path: Path):
    path = tmp_path / "t.parquet"
    write_table(rows(), TABLE, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ContractError, match="table things must be readable"):
        read_table(TABLE, path)


def test_a_missing_table_says_what_to_run(tmp_path: Path):
    with pytest.raises(ContractError, match=r"table things must exist as a file.*dvc repro"):
        read_table(TABLE, tmp_path / "none.csv")


def test_a_users_csv_is_read_as_text(tmp_path: Path):
    path = tmp_path / "captions.csv"
    path.write_text("caption,n\nNA,007\n", encoding="utf-8")
    assert read_csv_text(path, "prompts.table_path").to_dict("records") == [{"caption": "NA", "n": "007"}]
    path.write_bytes(b"caption\n\xff\xfe\n")
    with pytest.raises(ContractError, match=r"prompts\.table_path must name a readable CSV"):
        read_csv_text(path, "prompts.table_path")
    with pytest.raises(ContractError, match=r"prompts\.table_path must name a file"):
        read_csv_text(tmp_path / "none.csv", "prompts.table_path")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "replace", full)
    line = r"a\.txt must be writable; got 'No space left on device'"
    with pytest.raises(ContractError, match=line), replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_another_error_passes_and_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("half")
        _ = 1 / 0
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["a.txt"])


def test_metrics_are_sorted_rounded_and_plain(tmp_path: Path):
    path = tmp_path / "m.json"
    found = {
        "b": np.float64(0.123456789),
        "a": {"n": np.int64(3), "ok": np.bool_(True)},
        "c": [None, np.float32(2)],
    }
    write_metrics(found, path)
    assert (
        path.read_text()
        == json.dumps({"a": {"n": 3, "ok": True}, "b": 0.123457, "c": [None, 2.0]}, indent=2) + "\n"
    )
    assert read_metrics(path) == {"a": {"n": 3, "ok": True}, "b": 0.123457, "c": [None, 2.0]}


@pytest.mark.parametrize("value", [np.nan, np.inf, object()])
def test_a_metric_that_json_does_not_know_is_named(tmp_path: Path, value: object):
    with pytest.raises(ContractError, match=r"metric layers\.effect\[1\] must be a finite number"):
        write_metrics({"layers": {"effect": [0.0, value]}}, tmp_path / "m.json")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_damaged_metrics_are_one_line(tmp_path: Path, text: str):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(ContractError, match=r"m\.json must be"):
        read_metrics(path)
    with pytest.raises(ContractError, match="a metrics file must exist"):
        read_metrics(tmp_path / "none.json")


def test_a_plot_file_has_six_digits(tmp_path: Path):
    write_plot(pd.DataFrame({"layer": [0, 1], "effect": [1 / 3, 2e-9]}), tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == "layer,effect\n0,0.333333\n1,2e-09\n"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_an_audio_file_cut_short_is_named(tmp_path: Path, share: float):
    import soundfile

    path = tmp_path / "clip.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    soundfile.write(path, noise, 16000, subtype="PCM_16")
    samples, rate = read_waveform(path)
    assert (samples.shape, rate) == ((8000,), 16000)
    np.testing.assert_allclose(samples, noise, atol=1 / 32768)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ContractError, match=r"audio file must .*clip\.flac"):
        read_waveform(path)
    with pytest.raises(ContractError, match=r"audio file must exist"):
        read_waveform(tmp_path / "none.flac")


@pytest.mark.parametrize("prompt_id", ["../../x", "/etc/x", "a/b", "..", "", "a b", "é", "x" * 101, "a\\b"])
def test_an_id_that_would_name_a_file_elsewhere_is_refused(tmp_path: Path, prompt_id: str):
    """`generate` wrote the audio of the prompt `../../x` outside the workspace."""
    row = {"prompt_id": prompt_id, "emotion": "sad", "valence": 0.1, "arousal": 0.5, "set": "generic"}
    row |= {"template": "t", "wording": "w", "split": "train", "text": "a text"}
    pd.DataFrame([row]).to_csv(tmp_path / "prompts.csv", index=False)
    with pytest.raises(ContractError, match=r"prompts\.csv column 'prompt_id' must match"):
        read_table(PROMPTS, tmp_path / "prompts.csv")


def test_a_table_whose_rows_have_other_counts_of_cells_is_refused(tmp_path: Path):
    """A comma at the end of every row made the first column an index and moved the others."""
    (tmp_path / "things.csv").write_text("name,n,x,ok\na,1,0.5,True,\n")
    with pytest.raises(ContractError, match=r"things\.csv line 2 must have 4 cells"):
        read_table(TABLE, tmp_path / "things.csv")


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": Infinity}', "[" * 100_000])
def test_metrics_that_json_does_not_know_are_one_line(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ContractError, match=r"a\.json must be valid JSON"):
        read_metrics(tmp_path / "a.json")
