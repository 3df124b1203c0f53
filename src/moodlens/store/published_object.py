"""The metrics of the published run in DVC's cache, so that a clone's first run can be compared with them.

`dvc.lock` of the commit names the metrics of the published run by md5. DVC has the numbers themselves in its
cache only, and a fresh clone has none: `dvc metrics diff` would know nothing of the commit. docs/published/
holds the same bytes.
"""

from hashlib import md5
from pathlib import Path

PUBLISHED = Path("docs") / "published"
SHOWN = ("overview.json", "sae_overview.json")
"""Metrics that dvc.yaml lists as such."""


def remember_published(root: Path) -> int:
    """Put the published metrics into DVC's cache and return how many were new there.

    Args:
        root: workspace; without a DVC repository, or without a published run, nothing is done.
    """
    known = root / ".dvc" / "cache" / "files" / "md5"
    new = {
        path: digest
        for name in SHOWN
        if (path := root / PUBLISHED / name).is_file()
        and not (known / (digest := _md5(path))[:2] / digest[2:]).is_file()
    }
    if not new or not (root / ".dvc").is_dir():
        return 0
    from dvc.fs import LocalFileSystem  # loaded only where the usual cache lacks a file: it takes a second
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        cache = repo.cache.local
        absent = {path: digest for path, digest in new.items() if not cache.exists(digest)}
        for path, digest in absent.items():
            cache.add(str(path), LocalFileSystem(), digest)
    return len(absent)


def _md5(path: Path) -> str:
    return md5(path.read_bytes(), usedforsecurity=False).hexdigest()
