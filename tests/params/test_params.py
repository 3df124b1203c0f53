"""params.yaml: the shipped file parses; every way to get it wrong is one line that says what to do."""

import copy
import datetime
import math
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from moodlens.base.errors import UsageError
from moodlens.params.calibration import parse_calibration
from moodlens.params.json_schema import comments
from moodlens.params.pipeline import Params, parse_params

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "params.yaml"


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load(SHIPPED.read_text())


def test_the_shipped_file_parses_to_tuples_and_numbers(raw: dict):
    params = parse_params(raw)
    assert params.prompts.emotions == ("happy", "sad", "calm", "energetic")
    assert params.generate.layers == "all"
    assert params.generate.n_seeds == 2


@pytest.mark.parametrize("path", ["params.yaml", "calibration/params.yaml"])
def test_the_records_hold_exactly_the_numbers_of_the_file(path: str):
    values = yaml.safe_load((ROOT / path).read_text())
    parsed = (parse_params if path == "params.yaml" else parse_calibration)(values)
    for section in fields(parsed):
        for key, value in vars(getattr(parsed, section.name)).items():
            assert plain(value) == values[section.name][key]


def plain(value: object) -> object:
    """Tuples as the lists of a YAML file."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def test_every_section_and_value_has_a_comment_that_says_what_it_does(raw: dict):
    described = comments(SHIPPED.read_text())
    names = {f"{section}.{key}" for section, values in raw.items() for key in values}
    assert set(described) == names | set(raw)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("generate", "guidance_scal"),
            2.0,
            "must be a known key; got 'guidance_scal' (params.yaml). Did you",
        ),
        (("generate", "guidance_scal"), 2.0, "Did you mean 'guidance_scale'?"),
        (("sgnal",), {}, "sgnal must be a known section; got 'sgnal' (params.yaml). Did you mean 'signal'?"),
        (("generate", "n_seeds"), "two", "generate.n_seeds must be a whole number; got 'two'"),
        (("generate", "n_seeds"), True, "must be a whole number; got True"),
        (("generate", "n_seeds"), 2.0, "must be a whole number; got 2.0"),
        (("generate", "n_seeds"), "2", "must be a whole number; got '2'"),
        (("generate", "n_seeds"), 0, "must be at least 1; got 0 (params.yaml). Raise it."),
        (("generate", "temperature"), True, "generate.temperature must be a number; got True"),
        (("generate", "pooled_only"), 1, "generate.pooled_only must be true or false; got 1"),
        (("generate", "top_p"), 1.5, "must be at most 1; got 1.5 (params.yaml). Lower it."),
        (("generate", "top_p"), math.nan, "generate.top_p must be a finite number; got nan"),
        (("signal", "dimension_threshold"), math.inf, "must be a finite number; got inf"),
        (("probe", "ridge_grid"), [0.1, math.nan], "probe.ridge_grid[1] must be a finite number; got nan"),
        (("probe", "ridge_grid"), [], "probe.ridge_grid must hold at least 1 entry; got []"),
        (("generate", "layers"), [], "generate.layers must hold at least 1 entry"),
        (("null_text", "shots"), [], "null_text.shots must hold at least 1 entry"),
        (("signal", "n_permutations"), 10**9, "must be at most 1000000; got 1000000000"),
        (("signal", "seed"), 2**64, "signal.seed must fit 64 bits"),
        (("signal", "seed"), 2**32, "signal.seed must be at most 4294967295"),
        (("signal", "seed"), -1, "signal.seed must be at least 0; got -1"),
        (("sae", "learning_rate"), 0, "sae.learning_rate must be more than 0; got 0"),
        (("generate", "windows"), [[1.0, 0.5]], "generate.windows[0] must be a pair [start, end] in seconds"),
        (
            ("generate", "windows"),
            [[0, 1], [0.5]],
            "windows[1] must be a pair [start, end] in seconds, 0 <= st",
        ),
        (("generate", "windows"), [[0, True]], "generate.windows[0] must be a pair"),
        (("generate", "windows"), [0.5], "generate.windows[0] must be a list; got 0.5"),
        (("generate", "layers"), "some", "must be 'all' or a list of layers; got 'some'"),
        (("generate", "layers"), [0, "one"], "generate.layers[1] must be a whole number; got 'one'"),
        (("generate", "sites"), ["residul"], "generate.sites[0] must be one of residual, self_attention,"),
        (("generate", "sites"), ["residul"], "got 'residul' (params.yaml). Did you mean 'residual'?"),
        (
            ("model", "dtype"),
            "float31",
            "model.dtype must be one of float32, bfloat16, float16; got 'float31'",
        ),
        (("model", "id"), "", "model.id must not be empty; got ''"),
        (("model", "revision"), datetime.date(2026, 1, 1), "must be text, a number, true, false, a list"),
        (("prompts", "emotions"), ["happy", "hapy"], "Did you mean 'happy'?"),
        (("prompts", "emotions"), [], "prompts.emotions must hold at least 1 entry"),
        (("prompts", "emotions"), ["sad", "sad"], "must hold each entry once; got ['sad', 'sad']"),
        (("prompts", "emotions"), {"sad", "calm"}, "prompts.emotions must be text, a number"),
        (("prompts", "sets"), ["table"], "prompts.table_path must name a CSV"),
        (("prompts", "table_path"), "", "prompts.table_path must name a file; got ''"),
        (("prompts", "mood_words"), {"happy": "glad"}, "prompts.mood_words.happy must be a list; got 'glad'"),
        (("prompts", "mood_words"), ["glad"], "prompts.mood_words must be a mapping"),
        (("prompts", "seed"), None, "prompts.seed must be a whole number; got 'null'"),
        (("report", "title"), 3, "report.title must be text; got 3"),
        (("generate",), [1], "generate must be a mapping; got [1]"),
    ],
)
def test_a_mistake_is_one_line_with_the_rule_and_the_next_step(
    raw: dict, path: tuple, value: object, message: str
):
    wrong = copy.deepcopy(raw)
    target = wrong
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(UsageError) as caught:
        parse_params(wrong)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named(raw: dict):
    del raw["probe"]["ridge"]
    with pytest.raises(
        UsageError, match=r"probe\.ridge must be present; got 'nothing' .* Add the key 'ridge'"
    ):
        parse_params(raw)


def test_a_missing_section_is_named(raw: dict):
    del raw["probe"]
    with pytest.raises(UsageError, match=r"probe must be present; got 'nothing' .* Add the section 'probe'"):
        parse_params(raw)


def test_a_default_does_not_stand_in_for_a_missing_key(raw: dict):
    del raw["model"]["text_padding"]
    with pytest.raises(UsageError, match=r"model\.text_padding must be present"):
        parse_params(raw)


def test_of_several_mistakes_the_unknown_key_is_named_then_the_first_field(raw: dict):
    raw["model"]["dtype"] = "float31"
    raw["generate"]["n_seeds"] = 0
    with pytest.raises(UsageError, match=r"model\.dtype"):
        parse_params(raw)
    raw["probe"]["n_fold"] = raw["probe"].pop("n_folds")
    with pytest.raises(UsageError, match=r"probe\.n_fold must be a known key; .*mean 'n_folds'"):
        parse_params(raw)


@pytest.mark.parametrize("raw", [None, [], "model", 3])
def test_a_file_that_is_no_mapping_is_refused(raw: object):
    with pytest.raises(UsageError, match=r"the file must be a mapping; got .* \(params\.yaml\)"):
        parse_params(raw)


def test_a_long_wrong_value_is_cut(raw: dict):
    raw["model"]["dtype"] = "x" * 10_000
    with pytest.raises(UsageError) as caught:
        parse_params(raw)
    assert len(str(caught.value)) < 300


def test_whole_numbers_pass_for_floats(raw: dict):
    raw["generate"]["guidance_scale"] = 1
    scale = parse_params(raw).generate.guidance_scale
    assert scale == 1.0
    assert isinstance(scale, float)


def test_windows_become_pairs_of_seconds(raw: dict):
    raw["generate"]["windows"] = [[0, 0.5], [3, 4]]
    assert parse_params(raw).generate.windows == ((0.0, 0.5), (3.0, 4.0))


def test_the_calibration_names_its_own_file():
    raw = yaml.safe_load((ROOT / "calibration" / "params.yaml").read_text())
    raw["verdicts"]["models"] = ["organism", "organism-random", "organism-shufled"]
    with pytest.raises(
        UsageError, match=r"verdicts\.models\[2\] .*\(calibration/params\.yaml\)\. Did you mean"
    ):
        parse_calibration(raw)


def test_fields_of_params_are_the_sections_of_the_file(raw: dict):
    assert [section.name for section in fields(Params)] == list(raw)
