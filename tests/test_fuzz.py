"""Whatever stands in parameters, tables, YAML, metrics and receipts: a value, or one line; never a traceback.

MOODLENS_FUZZ is the number of cases in all (200 by default, 2,000 at night). Draws are seeded.
"""

import copy
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moodlens.base.errors import MoodLensError
from moodlens.contracts.tables import PROMPTS
from moodlens.params.pipeline import Params, parse_params
from moodlens.prompts.captions import CaptionColumns, matching
from moodlens.stages.prompts import draw_prompts
from moodlens.stages.shell import read_yaml
from moodlens.store.csv_text import read_csv_text
from moodlens.store.receipts import finished
from moodlens.store.tables import read_metrics, read_table

ROOT = Path(__file__).parents[1]
SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
KEYS = [(section, key) for section, values in SHIPPED.items() for key in values]
N_KINDS = 5
LONGEST_LINE = 3000
N_CASES = max(1, int(os.environ.get("MOODLENS_FUZZ", "200")) // N_KINDS)

bounded = settings(
    max_examples=N_CASES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

numbers = st.one_of(
    st.integers(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**400]),
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, 5e-324, 1.7e308, -0.0]),
)
texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "../x", "/", "\0", "é", "悲しい", "😀", "\u202e", "nan", "1e3", "a" * 5000, "x" * 300]
    ),
)
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(texts, numbers), inner, max_size=3)
    ),
    max_leaves=8,
)


def in_one_line(call: Any) -> Any:
    """Return what the call returns, or None after an error of ours in one line."""
    try:
        return call()
    except MoodLensError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < LONGEST_LINE
    return None


@bounded
@given(st.lists(st.tuples(st.sampled_from(KEYS), nested), min_size=1, max_size=2))
def test_parameters(changes: list[tuple[tuple[str, str], Any]]):
    raw = copy.deepcopy(SHIPPED)
    for (section, key), value in changes:
        raw[section][key] = value
    params = in_one_line(lambda: parse_params(raw))
    if params is not None:
        assert isinstance(params, Params)
        numbers_are_finite(params)
        in_one_line(lambda: draw_prompts(params.prompts, ROOT))


def numbers_are_finite(params: Params) -> None:
    for section in vars(params).values():
        for value in vars(section).values():
            for each in value if isinstance(value, tuple) else (value,):
                assert not isinstance(each, float) or math.isfinite(each)


@bounded
@given(st.one_of(nested.map(lambda raw: yaml.safe_dump(raw).encode()), st.binary(max_size=60)))
def test_yaml_files(content: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        path.write_bytes(content)
        in_one_line(lambda: parse_params(read_yaml(path, "params.yaml")))


cells = st.one_of(
    texts,
    st.sampled_from(
        ['"', '""', '\\"', ",", "\n", "\r", ";", "sad", "not happy", "['a' 'sad']", "['sad'", "{'sad': 1}"]
    ),
)


@bounded
@given(
    st.lists(cells, max_size=12).map("".join),
    st.sampled_from(["caption,mood\n", "", "\ufeffcaption,mood\r\n"]),
)
def test_caption_tables(body: str, header: str):
    moods = {"happy": ["happy"], "sad": ["sad"]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "captions.csv"
        path.write_bytes((header + body).encode(errors="surrogatepass"))
        rows = in_one_line(lambda: read_csv_text(path, "prompts.table_path"))
        for columns in (CaptionColumns("caption", "", "mood"), CaptionColumns("caption", "mood", "")):
            if rows is not None:
                found = in_one_line(lambda c=columns: matching(rows, c, moods, ("happy", "sad"), path.name))
                assert all("\n" not in caption.text for caption in found or ())
        assert os.listdir(folder) == ["captions.csv"]


@bounded
@given(st.lists(st.lists(cells, min_size=9, max_size=9), max_size=3))
def test_prompt_tables(rows: list[list[str]]):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.csv"
        lines = [",".join(PROMPTS.names), *(",".join(row) for row in rows)]
        path.write_bytes("\n".join(lines).encode(errors="surrogatepass"))
        table = in_one_line(lambda: read_table(PROMPTS, path))
        if table is not None:
            assert all("/" not in each and each != ".." for each in table["prompt_id"])


@bounded
@given(
    st.one_of(nested.map(json.dumps), st.text(max_size=40)),
    st.dictionaries(st.sampled_from(["fingerprint", "files", "rows", "digest"]), nested),
)
def test_metrics_and_receipts(text: str, record: dict[str, Any]):
    with tempfile.TemporaryDirectory() as folder:
        for content in (text, json.dumps(record)):
            path = Path(folder) / "receipt.json"
            path.write_bytes(content.encode(errors="surrogatepass"))
            assert finished(path, "print", Path(folder)) is None
            in_one_line(lambda p=path: read_metrics(p))


@pytest.mark.parametrize("n_per_emotion", [10**4, 10**6])
def test_prompts_without_end_are_refused(n_per_emotion: int):
    raw = copy.deepcopy(SHIPPED)
    raw["prompts"]["n_per_emotion"] = n_per_emotion
    with pytest.raises(MoodLensError):
        draw_prompts(parse_params(raw).prompts, ROOT)
