"""`python -m moodlens.stages.calibrate <command>`, run in calibration/: one stage of its dvc.yaml."""

import os
import sys
from importlib import import_module
from pathlib import Path

from moodlens.base.command import exit_status, one_name
from moodlens.base.errors import UsageError, must
from moodlens.stages.shell import QUIET, limit_threads, read_yaml

COMMANDS = ("rates", "power", "verdicts", "summary")


def main(argv: list[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 a contract failed, 2 wrong use."""
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    limit_threads(1)
    return exit_status(
        lambda: _run(one_name(argv, COMMANDS, "the command")), kept="finished verdicts are kept"
    )


def _run(name: str) -> None:
    from moodlens.params.calibration import parse_calibration

    path = Path("params.yaml")
    if not path.is_file() or not Path("dvc.yaml").is_file() or Path.cwd().name != "calibration":
        advice = "Run `make calibrate`, or `cd calibration` first"
        raise UsageError(must("the working folder", "be calibration/", str(Path.cwd()), next_step=advice))
    raw = read_yaml(path, "calibration/params.yaml")
    import_module(f"moodlens.stages.calibrate.{name}").run(parse_calibration(raw), Path.cwd())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
