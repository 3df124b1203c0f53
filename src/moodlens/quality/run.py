"""Run suites through Great Expectations, and render one HTML page per suite.

`validate` uses an ephemeral context with one checkpoint per view: no network, no telemetry, no progress bars,
nothing on disk. Great Expectations is imported inside it, because the import takes 3 s.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from moodlens.base.errors import must
from moodlens.quality.rules import Rule, View, rules_of

MAX_EXAMPLES = 20
"""Most rows that an outcome lists of a failed expectation: enough to see a pattern, few enough for a page."""


@dataclass(frozen=True)
class Outcome:
    """The result of one expectation on one view."""

    suite: str
    table: str  # name of the view's table; the suite's own name for the dataset itself
    key: str  # column that names a row
    rule: Rule
    success: bool
    n_rows: int
    n_failed: int
    examples: tuple[tuple[str, object], ...]  # (row key, value), the first MAX_EXAMPLES

    @property
    def thing(self) -> str:
        """Suite, view and column as one name, e.g. `activations.step_change`."""
        view = self.suite if self.table == self.suite else f"{self.suite}.{self.table}"
        return f"{view}.{self.rule.column}" if self.rule.column else view

    @property
    def name(self) -> str:
        """Name of the expectation in Great Expectations, e.g. `expect_column_values_to_be_unique`."""
        return "".join("_" + c.lower() if c.isupper() else c for c in self.rule.expectation).lstrip("_")

    @property
    def line(self) -> str:
        """The failure as one line: thing, rule, value, row, next step."""
        if not self.examples:
            return must(
                self.thing,
                self.rule.text,
                f"{self.n_rows} rows",
                where=self.name,
                next_step=self.rule.next_step,
            )
        row, value = self.examples[0]
        where = f"row {row}, {self.name}, {self.n_failed} of {self.n_rows} rows"
        return must(self.thing, self.rule.text, value, where=where, next_step=self.rule.next_step)


def validate(suites: Mapping[str, Sequence[View]]) -> list[Outcome]:
    """Return the outcome of every rule of every view, in order.

    Args:
        suites: suite name -> its views; the table key of a view names its rows.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("frames")
    outcomes = []
    for suite, views in suites.items():
        for view in views:
            outcomes += _validate_view(context, source, suite, view)
    return outcomes


def _validate_view(context: Any, source: Any, suite: str, view: View) -> list[Outcome]:
    import great_expectations as gx

    name = f"{suite}.{view.table.name}"
    rules = rules_of(view)
    expectations = [
        getattr(gx.expectations, rule.expectation)(**rule.arguments, meta={"rule": index})
        for index, rule in enumerate(rules)
    ]
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    checkpoint = gx.Checkpoint(
        name=name,
        validation_definitions=[
            context.validation_definitions.add(
                gx.ValidationDefinition(
                    name=name,
                    data=batch,
                    suite=context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations)),
                )
            )
        ],
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [view.table.key]},
    )
    run = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": view.frame})
    (results,) = run.run_results.values()
    by_rule = {result.expectation_config.meta["rule"]: result for result in results.results}
    return [_outcome(suite, view, rule, by_rule[index]) for index, rule in enumerate(rules)]


def _outcome(suite: str, view: View, rule: Rule, result: Any) -> Outcome:
    details = result.result
    rows = details.get("unexpected_index_list") or []
    assert result.success or details, f"{suite}.{rule.column}: {result.exception_info}"
    values = details.get("unexpected_list") or []  # the first 200 only; the list of rows is complete
    first = zip(rows[:MAX_EXAMPLES], values[:MAX_EXAMPLES], strict=True)
    examples = tuple((str(row[view.table.key]), _plain(value)) for row, value in first)
    return Outcome(
        suite=suite,
        table=view.table.name,
        key=view.table.key,
        rule=rule,
        success=bool(result.success),
        n_rows=len(view.frame),
        n_failed=details.get("unexpected_count", 0 if result.success else len(view.frame)),
        examples=examples,
    )


def _plain(value: object) -> object:
    """Return a numpy scalar as a Python number, and an unequal pair as text with both values."""
    if isinstance(value, tuple):
        return " against ".join(str(_plain(part)) for part in value)
    return value.item() if hasattr(value, "item") else value  # type: ignore[union-attr]


def render_suite(suite: str, outcomes: Sequence[Outcome]) -> str:
    """Return the HTML page of a suite, failed expectations first.

    The page loads nothing and escapes every text. Equal outcomes give equal bytes.

    Args:
        suite: name of the suite.
        outcomes: outcomes of this suite only, in the order of its rules.
    """
    source = files("moodlens.quality").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    tables: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        tables.setdefault(outcome.table, []).append(outcome)
    return environment.from_string(source).render(
        suite=suite,
        outcomes=outcomes,
        failed=[outcome for outcome in outcomes if not outcome.success],
        tables=tables,
        max_examples=MAX_EXAMPLES,
        shown=shown,
    )


def shown(value: object) -> str:
    """Return a value as the page shows it: text in quotes, a float at six digits.

    >>> shown(0.12345678), shown(""), shown(3)
    ('0.123457', "''", '3')
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    return repr(value) if isinstance(value, str) else str(value)
