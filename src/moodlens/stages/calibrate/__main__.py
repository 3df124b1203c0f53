"""`python -m moodlens.stages.calibrate <command>`, run in calibration/: one stage of its dvc.yaml."""

import os
import sys
from importlib import import_module
from pathlib import Path

from moodlens.base.errors import MoodLensError, UsageError, must, nearest
from moodlens.stages.shell import QUIET, limit_threads

COMMANDS = ("rates", "power", "verdicts", "summary", "deps")


def main(argv: list[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 a contract failed, 2 wrong use."""
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    limit_threads(1)
    try:
        if len(argv) != 1 or argv[0] not in COMMANDS:
            got = " ".join(argv) or "nothing"
            raise UsageError(must("the command", "be one", got, next_step=nearest(got, list(COMMANDS))))
        _run(argv[0])
    except MoodLensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: finished verdicts are kept; run again to resume", file=sys.stderr)
        return 130
    return 0


def _run(name: str) -> None:
    import yaml

    from moodlens.contracts.calibration import parse_calibration

    path = Path("params.yaml")
    if not path.is_file() or not Path("dvc.yaml").is_file() or Path.cwd().name != "calibration":
        advice = "Run `make calibrate`, or `cd calibration` first"
        raise UsageError(must("the working folder", "be calibration/", str(Path.cwd()), next_step=advice))
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        reason = str(error).replace("\n", " ")
        raise UsageError(
            must("calibration/params.yaml", "be valid YAML", reason, next_step="Correct the line named")
        ) from None
    import_module(f"moodlens.stages.calibrate.{name}").run(parse_calibration(raw), Path.cwd())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
