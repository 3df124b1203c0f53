"""`python -m moodlens.stages <name>` runs one stage of dvc.yaml in the current workspace."""

import sys

from moodlens.stages.shell import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
