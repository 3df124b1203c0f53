"""`python -m benchmarks` runs every benchmark in order and writes benchmarks/RESULTS.md."""

import subprocess
import sys
from pathlib import Path

from benchmarks import NAMES
from benchmarks.results import Outcome, machine_facts, outcome_from, results_page

FOLDER = Path(__file__).resolve().parent


def run_one(name: str) -> Outcome:
    """Run one benchmark in a process of its own, showing what it prints, and return what it said."""
    print(f"== {name}", flush=True)
    command = [sys.executable, "-u", "-m", f"benchmarks.{name}"]
    lines = []
    with subprocess.Popen(
        command, cwd=FOLDER.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None, "a pipe was asked for"
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return outcome_from(name, "".join(lines), process.returncode)


def main() -> int:
    """Run them all; exit 1 when one broke or a bar does not hold."""
    outcomes = [run_one(name) for name in NAMES if (FOLDER / f"{name}.py").is_file()]
    path = FOLDER / "RESULTS.md"
    path.write_text(results_page(outcomes, machine_facts()), encoding="utf-8")
    failed = [outcome.name for outcome in outcomes if not outcome.holds]
    print(f"wrote {path}: " + (f"failed: {', '.join(failed)}" if failed else "every bar holds"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
