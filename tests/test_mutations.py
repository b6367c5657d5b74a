"""A deliberate mistake in each part of the kernels must fail their tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import longshort

ROOT = Path(__file__).parent.parent
MUTATIONS = [  # file, what is there, what is put there, the tests that must notice
    ("vector.h", "1.66666667e-1f", "1.66e-1f", "kernels"),
    ("vector.h", "m / (m + splat(2.0f))", "m / (m + splat(2.00001f))", "kernels"),
    ("tile.h", "row[r][n * left.gate]", "row[r][0 * left.gate]", "kernels"),
    ("forward.h", "f * load(cell) + i * g", "i * load(cell) + f * g", "kernels"),
    ("forward.h", "      c = load(cell);\n", "", "kernels"),
    ("forward.h", "h = step.h_prev ? load_n", "h = step.h_prev && step.s ? load_n", "kernels"),
    ("forward.h", "a.time - 1 - s : s", "s : s", "kernels"),
    ("forward.h", "h * load_n(a.h_dropout + at, width)", "h", "kernels"),
    ("forward.h", "a.h0[b * H + unit] * a.h_dropout[at]", "a.h0[b * H + unit]", "kernels"),
    ("backward.h", "dc * c_prev * f * (one - f)", "dc * f * (one - f)", "kernels"),
    ("backward.h", "(one - tanh_c * tanh_c)", "(one - tanh_c)", "kernels"),
    ("backward.h", "store(running, dc * f)", "store(running, dc)", "kernels"),
    ("backward.h", "masked(a, b, s + 1)", "masked(a, b, s)", "kernels"),
    ("backward.h", "if (passed) dh += load(kept);", "", "kernels"),
    ("backward.h", "unit >= H || masked(a, b, s)", "unit >= H", "kernels"),
    ("transposed.h", "factor * sums.sum[r][g]", "sums.sum[r][g]", "kernels"),
    ("gradients.h", "(b * T + s - 1) * H : a.h0", "(b * T + s) * H : a.h0", "kernels"),
    ("gradients.h", "out[i] = 1.0f;", "out[i] = 0.0f;", "kernels"),
    ("gradients.h", "x[row] * x_factor[row]", "x[row]", "kernels"),
    ("xla.cpp", "  a.c0 = call.take(c0, call.bh());\n  a.h_dropout", "  a.h_dropout", "ops"),
    ("xla.cpp", "  a.dhs = call.take(dhs, call.bth());", "", "ops"),
    ("forward.h", "if (!plan.by_rows) team.wait();", "", "threads"),
    ("backward.h", "if (!plan.by_rows) team.wait();", "", "threads"),
    ("pool.cpp", "pool.forget_threads();", "", "threads"),
    ("pool.cpp", "threads > 1 && busy_", "threads > 999 && busy_", "threads"),
]


def build(folder: Path) -> Path:
    """Compile the kernels of `folder` into a copy of the package; return where it lies."""
    commands = [
        ["cmake", "-S", folder, "-B", folder / "build", f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", folder / "build", "--parallel", "2"],
    ]
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    package = folder / "package" / "longshort"
    sources = next(p for p in longshort.__path__ if Path(p, "_errors.py").exists())
    shutil.copytree(sources, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(folder / "build" / "liblongshort_kernels.so", package)
    return package.parent


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("cmake"), reason="needs cmake and a compiler")
@pytest.mark.parametrize("mutation", [None, *MUTATIONS], ids=lambda m: m and f"{m[0]}-{m[1][:20]}")
def test_mutation_is_noticed(mutation, tmp_path):
    shutil.copy(ROOT / "CMakeLists.txt", tmp_path)
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels")
    tests = "ops"
    if mutation:
        name, old, new, tests = mutation
        file = tmp_path / "kernels" / name
        text = file.read_text()
        assert text.count(old) == 1, "the mutation no longer fits the source"
        file.write_text(text.replace(old, new))
    package = build(tmp_path)
    arguments = ["-x", "-q", "-p", "no:cacheprovider", ROOT / "tests" / f"test_{tests}.py"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == (1 if mutation else 0), result.stdout
