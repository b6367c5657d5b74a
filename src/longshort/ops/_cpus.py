"""How many CPUs a control group leaves this process: what containers are limited by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def cgroup_limit(root: Path = ROOT, own: Path = OWN) -> int | None:
    """CPUs that the process's control groups allow, rounded up; None: no limit is known.

    Args:
        root: Where the control groups are mounted, version 1, 2 or both.
        own: The list of the groups that the process is in.

    The limits of all parents hold too. A group that is not there is passed over: in a container,
    `own` often has the paths of the host, and `root` is the container's own group.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> (root / "own").write_text("0::/pod/app")
    11
    >>> (root / "pod" / "app").mkdir(parents=True)
    >>> (root / "pod" / "app" / "cpu.max").write_text("max 100000")
    10
    >>> (root / "pod" / "cpu.max").write_text("150000 100000")
    13
    >>> cgroup_limit(root, root / "own")
    2
    """
    quotas = [quota for folder in _folders(root, own) for quota in _quotas(folder)]
    return min(quotas, default=None)


def _folders(root: Path, own: Path) -> Iterator[Path]:
    """The process's groups and their parents."""
    for line in _read(own).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            mounts = {root, root / "unified"}
        elif "cpu" in controllers.split(","):
            mounts = {root / controllers, root / "cpu"}
        else:
            continue
        group = Path(path.lstrip("/"))
        for mount in mounts:
            yield from (mount / folder for folder in (group, *group.parents))


def _quotas(folder: Path) -> Iterator[int]:
    """The limits that one group sets: in version 2, then in version 1."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    yield from _cpus(quota, period)
    yield from _cpus(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _cpus(quota: str, period: str) -> Iterator[int]:
    """Time that may be used in a period over the period; "max" and "-1" mean no limit."""
    if quota.isdecimal() and period.isdecimal() and int(period):
        yield max(1, -(-int(quota) // int(period)))


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""
