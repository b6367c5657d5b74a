"""The CPUs that control groups allow, as containers set them."""

import pytest

from longshort.ops._cpus import cgroup_limit


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("", {}, None),
        ("0::/", {"cpu.max": "max 100000\n"}, None),
        ("0::/", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/", {"cpu.max": "200001 100000\n"}, 3),
        ("0::/", {"cpu.max": "5000 100000\n"}, 1),
        ("0::/", {"cpu.max": "garbage"}, None),
        ("0::/", {"cpu.max": ""}, None),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "800000 100000"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "max 100000", "a/b/cpu.max": "400000 100000"}, 4),
        ("0::/a/b\n", {"a/other/cpu.max": "100000 100000"}, None),
        ("0::/of/the/host\n", {"cpu.max": "100000 50000"}, 2),  # a container sees its own root
        ("0::/../..\n", {"cpu.max": "100000 50000"}, 2),
        (
            "5:memory:/m\n4:cpu,cpuacct:/a/b\n0::/\n",
            {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/b/cpu.cfs_period_us": "100"},
            None,
        ),
        (
            "5:memory:/m\n4:cpu,cpuacct:/a/b\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "150", "cpu,cpuacct/a/cpu.cfs_period_us": "100"},
            2,
        ),
        (
            "4:cpuacct,cpu:/docker/1234\n",
            {"cpu/cpu.cfs_quota_us": "700\n", "cpu/cpu.cfs_period_us": "100\n"},
            7,
        ),
        ("4:cpu:/\n0::/a\n", {"unified/a/cpu.max": "100000 100000"}, 1),
        ("4:cpuset:/a\n", {"cpu/a/cpu.cfs_quota_us": "100", "cpu/a/cpu.cfs_period_us": "0"}, None),
    ],
)
def test_limit_of_control_groups(tmp_path, own, files, expected):
    for name, text in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "own").write_text(own)
    assert cgroup_limit(tmp_path / "root", tmp_path / "own") == expected


def test_no_control_groups(tmp_path):
    assert cgroup_limit(tmp_path / "none", tmp_path / "none") is None
