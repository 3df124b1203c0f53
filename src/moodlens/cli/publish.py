"""`moodlens publish`: the numbers of a finished run, as a tracked copy that the documentation quotes.

`metrics/` itself is data: DVC versions it, and each machine has its own last digits. The copy in
docs/published/ is made on purpose, at four significant digits, and every later run is compared with it.
"""

import csv
import json
from pathlib import Path
from typing import Any

from moodlens.base.errors import UsageError, must
from moodlens.report.published import DIGITS, Comparison, compared, numbers_of, rounded
from moodlens.store.atomic import replacing
from moodlens.store.run_record import Record, read_record

FOLDER = Path("docs") / "published"
VERDICT_STAGE, LAST_STAGE = "decide", "report"
LEFT_OUT = ("geometry_points.csv",)
"""Coordinates of single prompts: a picture, no result."""
UNSEEN = ("compute",)
"""Sections of the parameters that no number depends on."""


def publish(root: Path) -> str:
    """Copy the metrics of the run in this workspace to docs/published/ and return what was done.

    Raises:
        UsageError: nothing has run here.
    """
    record = read_record(root, VERDICT_STAGE)
    if record is None or read_record(root, LAST_STAGE) is None:
        advice = "Run `make repro` first"
        raise UsageError(must("a published run", "be finished here", "none", next_step=advice))
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in (root / "metrics").iterdir() if path.suffix in (".json", ".csv"))
    names = [name for name in names if name not in LEFT_OUT]
    for name in names:
        _copy(root / "metrics" / name, folder / name)
    about = {"params": dict(record.params), "revision": record.revision, "ended": record.ended}
    _write_json(about, folder / "run.json")
    return f"{len(names)} files in {FOLDER.as_posix()}; `make docs` fills the pages' figures from them"


def comparison_with_published(root: Path, record: Record) -> tuple[Comparison, bool] | None:
    """Return how this run differs from the published one and whether all verdicts are equal.

    None where nothing is published, or the published run had other parameters.
    """
    folder = root / FOLDER
    about = folder / "run.json"
    if not about.is_file() or _seen(json.loads(about.read_text())["params"]) != _seen(record.params):
        return None
    names = sorted(path.name for path in folder.glob("*.json") if path.name != "run.json")
    published = {name: json.loads((folder / name).read_text()) for name in names}
    here = {name: _read(root / "metrics" / name) for name in names}
    verdict = "overview.json"
    same = numbers_of(published.get(verdict, {}).get("0_verdict", {})) == numbers_of(
        here.get(verdict, {}).get("0_verdict", {})
    )
    return compared(published, here), same


def _seen(params: Any) -> dict[str, Any]:
    plain = json.loads(json.dumps(params))
    return {section: values for section, values in plain.items() if section not in UNSEEN}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _copy(source: Path, target: Path) -> None:
    if source.suffix == ".json":
        _write_json(rounded(json.loads(source.read_text(encoding="utf-8"))), target)
        return
    with source.open(newline="", encoding="utf-8") as stream:
        rows = [[_rounded_cell(cell) for cell in row] for row in csv.reader(stream)]
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def _rounded_cell(cell: str) -> str:
    try:
        number = float(cell)
    except ValueError:
        return cell
    return cell if cell.lstrip("-").isdigit() else f"{number:.{DIGITS}g}"


def _write_json(values: object, target: Path) -> None:
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False)
    with replacing(target) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
