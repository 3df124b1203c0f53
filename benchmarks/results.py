"""What the benchmarks said, as a page: one row each, the machine, the command that repeats it."""

import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import COMMANDS

PACKAGES = ("torch", "transformers", "numpy", "scipy", "dvc", "mlflow", "great-expectations")
FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd")
"""CPU features that decide the speed of matrix products."""
LINES = 60
NOISE = re.compile(r"\[transformers\]|Warning|warnings\.warn|\d+%\||Loading weights|Triton not installed")
KEYS = ("name", "value", "unit", "bar", "holds")


@dataclass(frozen=True)
class Outcome:
    """One benchmark: its last line, or why there is none."""

    name: str
    result: dict[str, object] | None  # the JSON line; None when the benchmark broke
    output: str  # everything it printed
    measured: str = ""  # day and commit

    @property
    def holds(self) -> bool:
        return self.result is not None and self.result["holds"] is True

    def as_json(self) -> dict[str, Any]:
        """Return its fields, the output cut to what the page shows."""
        return asdict(self) | {"output": "\n".join(shown(self.output))}


def outcome_from(name: str, output: str, exit_code: int, measured: str = "") -> Outcome:
    """Return what a benchmark said; its last line must be a JSON object with the agreed keys.

    A benchmark that claims its bar holds and yet exits with an error is broken.

    >>> said = '{"name": "x", "value": 1, "unit": "s", "bar": "<= 2", "holds": true}'
    >>> outcome_from("x", said, 0).holds, outcome_from("x", said, 1).result is None
    (True, True)
    >>> outcome_from("x", "Traceback ...", 0).holds
    False
    """
    lines = [line for line in output.splitlines() if line.strip()]
    try:
        result = json.loads(lines[-1]) if lines else None
    except ValueError:
        result = None
    lawful = (
        isinstance(result, dict)
        and all(key in result for key in KEYS)
        and not (result["holds"] and exit_code)
    )
    return Outcome(name, result if lawful else None, output, measured)


def shown(output: str) -> list[str]:
    """Return the lines of a benchmark's output that the page shows: its last, without what libraries say.

    >>> shown("a 1  \\n/x/site-packages/y.py:3: UserWarning: no\\nLoading weights:  9%\\nb 2\\n")
    ['a 1', 'b 2']
    """
    lines = [line.rstrip() for line in output.strip().splitlines() if not NOISE.search(line)]
    return lines[-LINES:]


def where_and_when(root: Path) -> str:
    """Return the day and the commit of a measurement; "+" where the tree was changed since."""
    said = [
        subprocess.run(["git", *asked], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
        for asked in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "src", "benchmarks/*.py"))
    ]
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {said[0] or 'unknown'}{'+' if said[1] else ''}"


def machine_facts() -> list[tuple[str, str]]:
    """Return what a reader needs to compare figures: processor, cores, memory, versions."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.is_file() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    have = set(flags[1].split()) if flags else set()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return [
        ("processor", model[1] if model else platform.processor() or platform.machine()),
        ("features", ", ".join(flag for flag in FLAGS if flag in have) or "unknown"),
        ("cores", str(cores)),
        ("memory", f"{memory:.1f} GB"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
        *((package, _version(package)) for package in PACKAGES),
    ]


def results_page(outcomes: Sequence[Outcome], facts: Sequence[tuple[str, str]]) -> str:
    """Return benchmarks/RESULTS.md: the table, the machine, each benchmark's own table and command."""
    lines = [
        "# Benchmark results",
        "",
        "Written by `make bench` (`python -m benchmarks [NAME ...]`); edit the benchmarks, not this page.",
        "",
        "| benchmark | value | bar | holds | measured |",
        "|---|---|---|---|---|",
    ]
    for outcome in outcomes:
        if outcome.result is None:
            lines.append(f"| {outcome.name} | broke | | **no** | {outcome.measured} |")
        else:
            held = "yes" if outcome.holds else "**no**"
            value = f"{outcome.result['value']} {outcome.result['unit']}".strip()
            bar = _cell(outcome.result["bar"])
            lines.append(f"| {outcome.name} | {_cell(value)} | {bar} | {held} | {outcome.measured} |")
    lines += ["", "## Machine", "", "| | |", "|---|---|"]
    lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in facts]
    for outcome in outcomes:
        command = " ".join(COMMANDS.get(outcome.name, (outcome.name,)))
        lines += ["", f"## {outcome.name}", "", f"`python -m benchmarks.{command}`", "", "```"]
        lines += [*shown(outcome.output), "```"]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
