"""What the benchmarks said, as a page: one row each, the machine, the command that repeats it."""

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "transformers", "numpy", "scipy", "dvc", "mlflow", "great-expectations")
FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd")
"""CPU features that decide the speed of matrix products."""
KEYS = ("name", "value", "unit", "bar", "holds")


@dataclass(frozen=True)
class Outcome:
    """One benchmark: its last line, or why there is none."""

    name: str
    result: dict[str, object] | None  # the JSON line; None when the benchmark broke
    output: str  # everything it printed

    @property
    def holds(self) -> bool:
        return self.result is not None and self.result["holds"] is True


def outcome_from(name: str, output: str, exit_code: int) -> Outcome:
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
    return Outcome(name, result if lawful else None, output)


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
        "Written by `make bench` (`python -m benchmarks`); edit the benchmarks, not this page.",
        "",
        "| benchmark | value | bar | holds |",
        "|---|---|---|---|",
    ]
    for outcome in outcomes:
        if outcome.result is None:
            lines.append(f"| {outcome.name} | broke | | **no** |")
        else:
            held = "yes" if outcome.holds else "**no**"
            value = f"{outcome.result['value']} {outcome.result['unit']}".strip()
            lines.append(f"| {outcome.name} | {_cell(value)} | {_cell(outcome.result['bar'])} | {held} |")
    lines += ["", "## Machine", "", "| | |", "|---|---|"]
    lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in facts]
    for outcome in outcomes:
        lines += ["", f"## {outcome.name}", "", f"`python -m benchmarks.{outcome.name}`", "", "```"]
        lines += [*(line.rstrip() for line in outcome.output.strip().splitlines()[-40:]), "```"]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
