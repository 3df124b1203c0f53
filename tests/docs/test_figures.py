"""Figures written into a page: what is replaced, what is left alone, what is refused."""

import json
from pathlib import Path

import pytest

from moodlens.base.errors import ContractError, UsageError
from moodlens.docs.figures import claims, filled
from moodlens.docs.sources import figure


@pytest.fixture
def root(tmp_path: Path) -> Path:
    text = "      samples/s  FVU\nours        14377  0.1678\ntheirs       1,214  0.2637\n"
    node = {"residual.3": {"fvu": 0.2346}, "word": "weak", "n": 14377, "output": text, "list": [1]}
    (tmp_path / "m.json").write_text(json.dumps({"sae": node}))
    (tmp_path / "r.csv").write_text('test,icc,rate\n"a, b",0,0.042\n"a, b",0.3,0.06\nother,0,0.5\n')
    return tmp_path


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("m.json sae/residual.3/fvu .3f", ".235"),
        ("m.json sae/residual.3/fvu 0.3f", "0.235"),
        ("m.json sae/residual.3/fvu %.0f", "23"),
        ("m.json sae/word s", "weak"),
        ("m.json sae/n ,.0f", "14,377"),
        ("m.json sae/output/ours/1 .4f", ".1678"),
        ("m.json sae/output/theirs/0 .0f", "1214"),
        ('r.csv rate "test=a, b" icc=0 .2f', ".04"),
        ('r.csv range(rate) "test=a*" .3f', ".042 - .060"),
        ("r.csv range(rate) test=other .3f", ".500"),
        ("r.csv count(rate) icc=0 .0f", "2"),
        ("r.csv range(rate) test!=other icc!=0 .2f", ".06"),
    ],
)
def test_a_source_is_read_and_printed(source: str, text: str, root: Path):
    assert figure(source, root) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gone.json a .2f", "gone.json must exist"),
        ("m.json sae/fvu .2f", "m.json: sae/fvu must exist"),
        ("m.json sae/list .2f", "must be one value"),
        ("m.json sae/output/nobody/0 .2f", "must name one line; got '0 lines'"),
        ("r.csv share test=other .2f", "r.csv: share must be a column"),
        ("r.csv rate icc=0 .2f", "must fit one row; got '2 rows'"),
        ("r.csv range(rate) icc=7 .2f", "must fit one row; got '0 rows'"),
    ],
)
def test_a_value_that_is_not_there_is_named(source: str, message: str, root: Path):
    with pytest.raises(ContractError) as error:
        figure(source, root)
    assert message in str(error.value)


def test_a_source_without_format_or_with_a_wrong_one_is_refused(root: Path):
    with pytest.raises(UsageError, match="a source must be a file, a value and a format"):
        figure("m.json sae/n", root)
    with pytest.raises(UsageError, match="a format must fit its value"):
        figure("m.json sae/word .2f", root)
    with pytest.raises(UsageError, match="a filter must be column=value"):
        figure("r.csv rate other .2f", root)


def test_only_the_figures_change_across_a_line_break(root: Path):
    page = (
        "Rates of .01 - .02 are\nfine, 3 tests; elsewhere .01 - .02 too; `weak`-ish: strong.\n"
        '<!-- figures\nRates of {} are fine, {} tests\n  r.csv range(rate) "test=a*" .3f\n'
        "  r.csv count(rate) test=other .0f\nish: {}.\n  m.json sae/word s\n-->\n"
    )
    fresh = filled(page, root)
    first, second = fresh.splitlines()[:2]
    assert first == "Rates of .042 - .060 are"
    assert second == "fine, 1 tests; elsewhere .01 - .02 too; `weak`-ish: weak."
    assert filled(fresh, root) == fresh
    assert fresh.endswith(page[page.index("<!--") :])


def test_a_number_is_replaced_whole(root: Path):
    page = "x 10.255 y\n<!-- figures\nx {} y\n  m.json sae/n .0f\n-->"
    assert filled(page, root).startswith("x 14377 y")


@pytest.mark.parametrize("body", ["no such sentence", "FVU .1 here, FVU .2 there"])
def test_a_claim_must_occur_exactly_once(body: str, root: Path):
    page = f"{body}\n<!-- figures\nFVU {{}}\n  m.json sae/residual.3/fvu .2f\n-->"
    with pytest.raises(ContractError, match="a claim must occur once on its page"):
        filled(page, root)


def test_a_claim_needs_a_source_for_each_figure():
    with pytest.raises(UsageError, match=r"1 of \{\}, 2 sources"):
        claims("<!-- figures\nFVU {}\n  a.json b .2f\n  a.json c .2f\n-->")


def test_an_indented_example_is_no_claim():
    assert claims("Write:\n\n    <!-- figures\n    FVU {} here\n      a.json b .2f\n    -->\n") == []
