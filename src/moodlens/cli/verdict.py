"""`moodlens verdict`: the ladder of the run in this workspace, and which run that is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moodlens.cli.publish import comparison_with_published
from moodlens.report.decide import verdict_text
from moodlens.stages.shell import read_yaml
from moodlens.store.run_record import Record, file_md5, flat, locked_outputs, read_record
from moodlens.store.tables import read_metrics

STAGE = "decide"
UNSEEN = ("compute.", "report.")
"""Parameters that no verdict depends on."""
MOST_CHANGES = 4
"""Changed parameters that are named; further ones are counted."""
WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class Origin:
    """Which run a verdict is of, and what has changed since."""

    model: str
    n_prompts: int
    n_seeds: int
    revision: str  # git commit, "" where git did not tell
    ended: str  # UTC
    experiment: str  # of DVC, "" outside `dvc exp run`
    changed: tuple[str, ...]  # parameters and files that differ now, each "name: then -> now"


def verdict(root: Path, *, as_json: bool) -> tuple[str, bool]:
    """Return the verdict of this workspace's run as text or JSON, and whether there is one.

    Where no run was made here the text says so and how to make one.
    """
    record, path = read_record(root, STAGE), root / "metrics" / "decide.json"
    if record is None or not path.is_file():
        reason = "no run here yet: `make repro` makes one"
        return (json.dumps({"run": None, "reason": reason}) if as_json else reason), False
    decision, overview = read_metrics(path), read_metrics(root / "metrics" / "overview.json")
    origin = origin_of(root, record, overview)
    if as_json:
        run = {**vars(origin), "changed": list(origin.changed)}
        return json.dumps({"run": run, "decision": decision, "overview": overview}, indent=2), True
    lines = [origin_text(origin), "", verdict_text(decision)]
    comparison = comparison_with_published(root, record)
    if comparison is not None:
        difference, same = comparison
        verdicts = "same verdict as the published run" if same else "ANOTHER VERDICT than the published run"
        lines += ["", f"{verdicts}; {difference.sentence}"]
    report = root / "reports" / "index.html"
    lines += ["", f"Report: {report}" if report.is_file() else "Report: none; `dvc repro report` makes it"]
    return "\n".join(lines), True


def origin_of(root: Path, record: Record, overview: Mapping[str, Any]) -> Origin:
    """Return which run a record is of; `overview` is metrics/overview.json."""
    return Origin(
        model=record.params["model"]["id"],
        n_prompts=int(overview["2_design"]["n_prompts"]),
        n_seeds=int(record.params["generate"]["n_seeds"]),
        revision=record.revision,
        ended=record.ended,
        experiment=record.experiment,
        changed=(*_changed_params(root, record), *_changed_files(root)),
    )


def origin_text(origin: Origin) -> str:
    """Return the first lines of the verdict.

    >>> print(origin_text(Origin("organism", 64, 2, "0123456789", "2026-01-02 03:04 UTC", "", ())))
    organism, 64 prompts x 2 seeds, run at git 0123456, 2026-01-02 03:04 UTC
    """
    where = f"run at git {origin.revision[:7]}" if origin.revision else "run at an unknown git revision"
    name = f" ({origin.experiment})" if origin.experiment else ""
    first = (
        f"{origin.model}{name}, {origin.n_prompts} prompts x {origin.n_seeds} seeds, {where}, {origin.ended}"
    )
    if not origin.changed:
        return first
    named = "; ".join(origin.changed[:MOST_CHANGES])
    more = len(origin.changed) - MOST_CHANGES
    rest = f"; and {more} more" if more > 0 else ""
    return f"{first}\nNOT of this workspace as it is now: {named}{rest}. Run `dvc repro`"


def _changed_params(root: Path, record: Record) -> list[str]:
    raw = read_yaml(root / "params.yaml", "params.yaml")
    now = dict(flat(raw)) if isinstance(raw, Mapping) else {}
    then = dict(flat(record.params))
    return [
        f"{name} {_short(then.get(name))} -> {_short(now.get(name))}"
        for name in sorted({*then, *now})
        if not name.startswith(UNSEEN) and _short(then.get(name)) != _short(now.get(name))
    ]


def _short(value: object) -> str:
    return json.dumps(value, default=list)


def _changed_files(root: Path) -> list[str]:
    """Return the weights, and the verdict itself, where they are other files than the run's."""
    made = read_record(root, "generate")
    weights = [entry for entry in made.inputs if entry.path.endswith(WEIGHTS)] if made else []
    changed = [
        f"{entry.path} was replaced"
        for entry in weights
        if not (root / entry.path).is_file() or file_md5(root / entry.path) != entry.md5
    ]
    locked = locked_outputs(root, STAGE)
    verdict_file = "metrics/decide.json"
    if verdict_file in locked and locked[verdict_file] != file_md5(root / verdict_file):
        changed.append(f"{verdict_file} is another one than dvc.lock names")
    return changed
