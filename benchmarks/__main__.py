"""`python -m benchmarks [NAME ...]` runs benchmarks, all without a name, and writes benchmarks/RESULTS.md.

What each said is kept in benchmarks/results.json with the day, the commit and the machine; a run of some
leaves the others' there.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks import COMMANDS
from benchmarks.results import Outcome, machine_facts, outcome_from, results_page, where_and_when

FOLDER = Path(__file__).resolve().parent
KEPT = FOLDER / "results.json"


def run_one(name: str) -> Outcome:
    """Run one benchmark in a process of its own, showing what it prints, and return what it said."""
    print(f"== {name}", flush=True)
    module, *options = COMMANDS[name]
    command = [sys.executable, "-u", "-m", f"benchmarks.{module}", *options]
    lines = []
    with subprocess.Popen(
        command, cwd=FOLDER.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None, "a pipe was asked for"
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    return outcome_from(name, "".join(lines), process.returncode, where_and_when(FOLDER.parent))


def main() -> int:
    """Run them; exit 1 when one broke or a bar does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMMANDS)}")
    names = parser.parse_args().names
    unknown = [name for name in names if name not in COMMANDS]
    if unknown:
        parser.error(f"a benchmark must be one of {', '.join(COMMANDS)}; got {unknown[0]}")
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    failed = []
    for name in names or COMMANDS:
        outcome = run_one(name)
        if not outcome.holds:
            failed.append(name)
        kept[name] = outcome.as_json()
        KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        outcomes = [Outcome(**kept[known]) for known in COMMANDS if known in kept]
        (FOLDER / "RESULTS.md").write_text(results_page(outcomes, machine_facts()), encoding="utf-8")
    print("wrote benchmarks/RESULTS.md: " + (f"failed: {', '.join(failed)}" if failed else "bars hold"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
