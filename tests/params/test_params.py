"""params.yaml: the shipped file parses; every way to get it wrong is one line that says what to do."""

import copy
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from moodlens.base.errors import UsageError
from moodlens.params.pipeline import Params, parse_params

SHIPPED = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load(SHIPPED.read_text())


def test_the_shipped_file_parses_to_tuples_and_numbers(raw: dict):
    params = parse_params(raw)
    assert params.prompts.emotions == ("happy", "sad", "calm", "energetic")
    assert params.generate.layers == "all"
    assert params.generate.n_seeds == 2


def test_every_value_has_a_comment_that_says_what_it_does(raw: dict):
    lines = SHIPPED.read_text().splitlines()
    for section in fields(Params):
        start = next(i for i, line in enumerate(lines) if line.split(" ")[0] == f"{section.name}:")
        for key in raw[section.name]:
            at = next(i for i, line in enumerate(lines) if i > start and line.startswith(f"  {key}:"))
            assert "#" in lines[at] or lines[at - 1].strip().startswith("#"), key


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("generate", "guidence_scale"), 2.0, "Did you mean 'guidance_scale'?"),
        (("sgnal",), {}, "Did you mean 'signal'?"),
        (("generate", "n_seeds"), "two", "generate.n_seeds must be of type int; got 'two'"),
        (("generate", "n_seeds"), True, "must be of type int"),
        (("generate", "n_seeds"), 0, "must be at least 1; got 0"),
        (("generate", "top_p"), 1.5, "must be at most 1"),
        (("generate", "windows"), [[1.0, 0.5]], "generate.windows must hold pairs [start, end] in seconds"),
        (("generate", "windows"), [[0.5]], "must hold pairs [start, end] in seconds, 0 <= start < end"),
        (("generate", "windows"), [0.5], "generate.windows[0] must be of type"),
        (("generate", "layers"), "some", "must be 'all' or a list of layers"),
        (("generate", "layers"), [0, "one"], "generate.layers[1] must be of type int"),
        (("generate", "sites"), ["residul"], "Did you mean 'residual'?"),
        (("model", "dtype"), "float31", "Did you mean 'float32'?"),
        (("prompts", "emotions"), ["happy", "hapy"], "Did you mean 'happy'?"),
        (("prompts", "emotions"), [], "at least one name"),
        (("prompts", "emotions"), ["sad", "sad"], "each once"),
        (("prompts", "sets"), ["table"], "prompts.table_path must name a CSV"),
        (("prompts", "table_path"), "", "prompts.table_path must name a file; got ''"),
        (("prompts", "mood_words"), {"happy": "glad"}, "prompts.mood_words.happy must be of type"),
        (("prompts", "seed"), None, "got 'null'"),
        (("generate",), [1], "generate must be a mapping"),
    ],
)
def test_a_mistake_is_one_line_with_the_rule_and_the_next_step(
    raw: dict, path: tuple, value: object, said: str
):
    wrong = copy.deepcopy(raw)
    target = wrong
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(UsageError) as caught:
        parse_params(wrong)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(raw: dict):
    del raw["probe"]["ridge"]
    with pytest.raises(UsageError, match=r"probe\.ridge must be present"):
        parse_params(raw)


def test_whole_numbers_pass_for_floats(raw: dict):
    raw["generate"]["guidance_scale"] = 1
    assert parse_params(raw).generate.guidance_scale == 1.0
