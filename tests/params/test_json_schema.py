"""docs/params.schema.json: equal to what the types give, and read by another validator."""

import json
from pathlib import Path

import pytest
import yaml

from moodlens.params.json_schema import WRITTEN, comments, json_schema, main
from moodlens.params.pipeline import Params

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "params.yaml").read_text()


def test_the_tracked_file_is_the_generated_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "docs").mkdir()
    (tmp_path / "params.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    main()
    fresh = (tmp_path / WRITTEN).read_text()
    assert (ROOT / WRITTEN).read_text() == fresh, "run `python -m moodlens.params.json_schema`"


def test_editors_find_the_schema():
    assert TEXT.splitlines()[0] == f"# yaml-language-server: $schema={WRITTEN}"


def test_types_bounds_and_comments_of_a_key():
    generate = json_schema(Params, TEXT)["properties"]["generate"]
    assert generate["additionalProperties"] is False
    assert generate["required"] == list(yaml.safe_load(TEXT)["generate"])
    assert generate["properties"]["top_p"] == {
        "description": comments(TEXT)["generate.top_p"],
        "type": "number",
        "minimum": 0,
        "maximum": 1,
    }
    assert generate["properties"]["sites"]["uniqueItems"] is True
    assert generate["properties"]["sites"]["items"]["enum"][0] == "residual"
    assert generate["properties"]["windows"]["items"]["maxItems"] == 2
    assert generate["properties"]["layers"]["oneOf"][0] == {"const": "all", "type": "string"}


def test_another_validator_takes_the_shipped_file_and_refuses_mistakes():
    jsonschema = pytest.importorskip("jsonschema", reason="comes with great-expectations")
    validator = jsonschema.Draft202012Validator(json.loads((ROOT / WRITTEN).read_text()))
    raw = yaml.safe_load(TEXT)
    assert list(validator.iter_errors(raw)) == []
    for section, key, wrong in [
        ("generate", "n_seeds", 0),
        ("generate", "layers", "some"),
        ("generate", "half", "left"),
        ("prompts", "emotions", ["sad", "sad"]),
        ("prompts", "emotion", []),
    ]:
        broken = {**raw, section: {**raw[section], key: wrong}}
        assert list(validator.iter_errors(broken)), key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a:\n  b: "x # y"  # Beside.', {"a.b": "Beside."}),
        ("a:\n  # Above\n  # in two lines.\n  b: 1", {"a.b": "Above in two lines."}),
        ("a:\n  b: [1,\n      2]  # unread\n  c: 1  # Of c.", {"a.c": "Of c."}),
        ("# Of the file.\n\na:\n  b: 1", {}),
        ("a:\n  b: 1\n# Of c.\nc:\n  d: 1", {"c": "Of c."}),
    ],
)
def test_which_name_a_comment_belongs_to(text: str, expected: dict[str, str]):
    assert comments(text) == expected
