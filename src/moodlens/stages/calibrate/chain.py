"""`python -m moodlens.stages.calibrate.chain <stage>...`: stages of the main pipeline in one process.

Stops at the first that fails, with its exit status; its name and its one line are on stderr.
"""

import os
import sys

from moodlens.stages import load_stage
from moodlens.stages.shell import QUIET, Stage, run_stage


def main(names: list[str]) -> int:
    """Run the stages in the current workspace and return the exit status of the last one run."""
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    for name in names:
        status = run_stage(lambda name=name: _load(name))
        if status != 0:
            print(f"stage {name} stopped", file=sys.stderr)
            return status
    return 0


def _load(name: str) -> Stage:
    if name == "naive":
        from moodlens.stages.calibrate import naive

        return naive.run
    return load_stage(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
