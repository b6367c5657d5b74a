"""A deliberate mistake in each part of the kernels must fail their tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MUTATIONS = [  # file, what is there, what is put there, the tests that must notice
    ("vector.h", "0.133803713f", "0.1337f", "kernels"),
    ("vector.h", "1.61712660e-3f", "1.62e-3f", "kernels"),
    ("cell_forward.h", "step.x + (gate * a.batch + place) * D", "step.x + place * D", "kernels"),
    (
        "tile.h",
        "weights + (k * kGates + g) * units + unit,",
        "weights + k * kGates * units + unit,",
        "kernels",
    ),
    (
        "tile.h",
        "mul_add(cell.f, c_prev, cell.i * cell.g)",
        "mul_add(cell.i, c_prev, cell.f * cell.g)",
        "kernels",
    ),
    ("activations.h", "(one - absolute(y)) * (one - absolute(y))", "one - absolute(y)", "kernels"),
    ("activations.h", "y > Vector{} ? one : Vector{}", "one", "kernels"),
    ("activations.h", "case LONGSHORT_LINEAR: return z;", "", "kernels"),
    ("activations.h", "y < one ? rising : Vector{}", "rising", "kernels"),
    ("activations.h", "splat(1.0f / 6.0f), splat(0.5f)", "splat(0.2f), splat(0.5f)", "kernels"),
    ("noise.h", "^ second_;", ";", "kernels"),
    ("noise.h", "+ a.noise[2]", "", "kernels"),
    ("noise.h", "static_cast<uint32_t>(unit)) *", "0u) *", "kernels"),
    ("varied_cell.h", "splat(1.0f) - cell.f : gate", "cell.f : gate", "kernels"),
    ("varied_cell.h", "(a_.coupled ? df - di : df)", "df", "kernels"),
    ("varied_cell.h", "peephole_[2], cell.h);", "peephole_[2], c_prev);", "kernels"),
    ("varied_cell.h", "mul_add(dz, peephole_[2], dc + dc_out)", "dc + dc_out", "kernels"),
    ("varied_cell.h", "mul_add(d.z[0], peephole_[0], mul_add", "(mul_add", "kernels"),
    (
        "varied_cell.h",
        "d.peephole[2] = d.z[3] * past.c;",
        "d.peephole[2] = d.z[3] * c_prev;",
        "kernels",
    ),
    ("varied_cell.h", "splat(a_.cell_clip) ? dc : Vector{}", "dc ? dc : dc", "kernels"),
    ("varied_cell.h", "clamp(c, -a_.cell_clip, a_.cell_clip) : c", "c : c", "kernels"),
    ("varied_cell.h", "    dc *= one - stays;\n", "", "kernels"),
    ("varied_cell.h", "d.c = dc * stays;", "d.c = Vector{};", "kernels"),
    ("varied_cell.h", "dc * cell.i * past.factor *", "dc * cell.i *", "kernels"),
    (
        "backward.h",
        "load(scratch.dh_at(a, place, block)) + load(product",
        "load(product",
        "kernels",
    ),
    ("cell_backward.h", "load(sum) + d.peephole[n]", "d.peephole[n]", "kernels"),
    (
        "backward.h",
        "    team.wait();\n    for (int64_t block = team",
        "    for (int64_t block = team",
        "threads",
    ),
    ("steps.h", "a.time - 1 - s : s", "s : s", "kernels"),
    ("steps.cpp", "grows ? at[s + 1] : at[T - s]", "at[T - s]", "kernels"),
    ("steps.cpp", "grows ? span.begin : T - span.end", "T - span.end", "kernels"),
    ("cell_forward.h", "skipped ? load(running + r * width) : cell.c", "cell.c", "kernels"),
    ("cell_forward.h", "if (skipped) h = load(previous + r * width);", "", "kernels"),
    (
        "cell_forward.h",
        "store(dropped + gate * B * width, h * factor)",
        "store(dropped + gate * B * width, h)",
        "kernels",
    ),
    ("forward.h", "+ unit, h * factor);\n        }", "+ unit, h);\n        }", "kernels"),
    (
        "forward.h",
        "fill_skipped(a, hs, a.hs_stride, row, after, outputs.size(), copies ? state : nullptr);",
        "",
        "kernels",
    ),
    (
        "forward.h",
        "fill_skipped(a, hs, a.hs_stride, row, before, outputs.size(), first);",
        "",
        "kernels",
    ),
    ("ahead.h", "row[place++] * T + time_of(a, s)) * D", "row[place++] * T + s) * D", "kernels"),
    ("cell_backward.h", "dc * c_prev * f * (one - f)", "dc * f * (one - f)", "kernels"),
    ("cell_backward.h", "mul_add(-tanh_c, tanh_c, one)", "one", "kernels"),
    ("cell_backward.h", "store(running, dc * f)", "store(running, dc)", "kernels"),
    ("backward.h", "row[place], s + 1)) dh", "row[place], s)) dh", "kernels"),
    ("backward.h", "Range{scratch.steps.end[place], a.time}", "Range{a.time, a.time}", "kernels"),
    ("backward.h", "sum_skipped(a, row, before", "sum_skipped(a, row, Range{0, 0}", "kernels"),
    ("backward.h", "if (a.dh0) products(now, after, true);", "", "kernels"),
    (
        "transposed.h",
        "mul_add(factor, sums.sum[r][n], out.sum[r][n])",
        "sums.sum[r][n] + out.sum[r][n]",
        "kernels",
    ),
    ("weight_gradient.h", "int64_t before = s - 1;", "int64_t before = s;", "kernels"),
    ("weight_gradient.h", "unit >= P ? 1.0f", "unit >= P ? 0.0f", "kernels"),
    (
        "weight_gradient.h",
        "masked(a, b, before)) --before",
        "masked(a, b, before)) break",
        "kernels",
    ),
    ("cell_backward.h", "(a.zero_masked && masked(a, row, s))", "false", "kernels"),
    ("backward.h", "a.dhs && !a.zero_masked && s", "a.dhs && s", "kernels"),
    ("forward.h", "copies ? state : nullptr", "state", "kernels"),
    ("cell_forward.h", "skipped && a.zero_masked ? Vector{} : h", "h", "kernels"),
    ("xla.cpp", "a.zero_masked = settings.zero_masked;", "", "lstm_layer"),
    ("weight_gradient.h", "a.x_dropout[(g * B + b) * D + m]", "a.x_dropout[b * D + m]", "kernels"),
    ("tile.h", "plan.fixed_tiles ? fewest : share * threads", "share * threads", "threads"),
    ("weight_gradient.h", "begin > s ? begin : s", "begin > s ? begin : 0", "kernels"),
    ("input_gradient.h", "s = steps.end[place];", "s = T;", "kernels"),
    (
        "xla.cpp",
        "  call.give(&longshort_lstm::c0, c0, call.state);\n  call.give(&longshort_lstm::x_dropout",
        "  call.give(&longshort_lstm::x_dropout",
        "ops",
    ),
    ("xla.cpp", "  call.join(&longshort_lstm::dhs, dhs);", "", "ops"),
    ("xla.cpp", "a.coupled = settings.coupled;", "", "ops_variants"),
    (
        "xla.cpp",
        "layers_[1].*field = (Field)array(second)",
        "layers_[1].*field = (Field)array(first)",
        "lstm_layer",
    ),
    ("xla.cpp", "a.update_dropout = settings.update_dropout;", "", "ops_variants"),
    (
        "xla.cpp",
        "  call.give(&longshort_lstm::noise, noise, 3);\n  call.give(&longshort_lstm::gates",
        "  call.give(&longshort_lstm::gates",
        "ops_variants",
    ),
    (
        "forward.h",
        "    if (!plan.by_rows) team.wait();\n    const auto also",
        "    const auto also",
        "threads",
    ),
    (
        "backward.h",
        "    if (!plan.by_rows) team.wait();\n    const auto also",
        "    const auto also",
        "threads",
    ),
    (
        "forward.h",
        "      if (!plan.by_rows) team.wait();\n    };",
        "    };",
        "threads",
    ),
    (
        "backward.h",
        "      if (!plan.by_rows) team.wait();\n    };",
        "    };",
        "threads",
    ),
    ("layer_norm.h", "mul_add(v[g] - mean, v[g] - mean, squares)", "squares", "kernels"),
    ("layer_norm.h", "between = mul_add(off, off, between);", "", "kernels"),
    ("layer_norm.h", "return a.coupled ? 1 : 0;", "return 0;", "kernels"),
    ("layer_norm.h", "mul_add(load(gains + n), of_x[r](", "(of_x[r](", "kernels"),
    ("ahead.h", "a.norm_gain ? Vector{} : load", "load", "kernels"),
    ("layer_norm_backward.h", " - v * weighted", "", "kernels"),
    ("layer_norm_backward.h", "(dv - plain", "(dv", "kernels"),
    ("layer_norm_backward.h", "dc *= gain;", "", "kernels"),
    ("layer_norm_backward.h", "mul_add(d.z[g], normed[i], load(sum))", "load(sum)", "kernels"),
    ("layer_norm_backward.h", "* kBlock, d.z[g]);", "* kBlock, Vector{});", "kernels"),
    ("weight_gradient.h", "add(Range{0, D}, a.dz_x);", "add(Range{0, D}, a.dz);", "kernels"),
    ("projection.h", "column * column_stride] : 0.0f", "column] : 0.0f", "kernels"),
    ("projection.h", "masked(step.a, row, step.s), h", "false, h", "kernels"),
    ("cell_backward.h", "dh *= splat(1.0f) - stays;", "", "kernels"),
    ("trace.h", "skipped ? Vector{} : load", "load", "kernels"),
    ("trace.h", "parts[n], width, cells[n]", "parts[n], width, cells[0]", "kernels"),
    ("gru_cell.h", "cell.i, h - cell.g, cell.g)", "cell.i, cell.g - h, h)", "gru"),
    ("gru_cell.h", "mul_add(-dh, cell.i, dh)", "dh", "gru"),
    ("gru_cell.h", "dz[2] * cell.o * gate_slope", "dz[2] * gate_slope", "gru"),
    ("gru_cell.h", "dz[3] = dz[2] * cell.f;", "dz[3] = dz[2];", "gru"),
    ("cells_backward.h", "store(running, dh * cell.i);", "store(running, dh);", "gru"),
    ("cells_backward.h", "skipped ? dh : Vector{}", "dh", "gru"),
    ("xla.cpp", "a.cell = static_cast<int32_t>(settings.cell);", "", "gru_layer"),
    ("exponentials.h", "0.16666515f", "0.15f", "slstm_kernels"),
    ("exponentials.h", "0.2001085f", "0.21f", "slstm_kernels"),
    ("slstm_cell.h", "before.n == Vector{} ? z_i : log_f", "log_f", "slstm_kernels"),
    ("slstm_cell.h", "(z_f < Vector{} ? one : small)", "one", "slstm_kernels"),
    ("slstm_cell.h", "mul_add(-share, ratio, d.n)", "d.n", "slstm_kernels"),
    ("slstm_cell.h", "(from_kept ? zero : d.m)", "zero", "slstm_kernels"),
    ("slstm_cell.h", "from_kept ? dk + d.m : dk", "dk", "slstm_kernels"),
    ("slstm_cell.h", "empty ? -dk : from_kept ? d.m : zero", "d.m", "slstm_kernels"),
    ("slstm_cell.h", "(empty ? dk : zero)", "zero", "slstm_kernels"),
    ("cells_forward.h", "if (!skipped) {", "{", "slstm_kernels"),
    ("backward.h", "place, block, -1.0f);", "place, block, 0.0f);", "slstm_kernels"),
    ("backward.h", "place, block, 1.0f);", "place, block, 0.0f);", "slstm_kernels"),
    ("xla.cpp", "count_ == 2 && !heads ? i == 1", "count_ == 2 ? i == 1", "slstm"),
    ("pool.cpp", "pool.forget_threads();", "", "threads"),
    ("pool.cpp", "if (elsewhere_) job->places.anywhere();", "", "threads"),
    ("pool.cpp", "threads > 1 && busy_", "threads > 999 && busy_", "threads"),
]


def build(folder: Path, *options: str) -> Path:
    """Compile the kernels of `folder`; return the library."""
    commands = [
        [
            "cmake",
            "-S",
            folder,
            "-B",
            folder / "build",
            f"-DPython_EXECUTABLE={sys.executable}",
            *options,
            "-DCMAKE_BUILD_TYPE=None",  # fast to compile
            "-DCMAKE_CXX_FLAGS=-O1",
        ],
        ["cmake", "--build", folder / "build", "--parallel", "2"],
    ]
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    return folder / "build" / "liblongshort_kernels.so"


MUTATIONS += [
    ("token_loss.h", old, new, "token_loss_kernel")
    for old, new in [
        ("z[target] -= (1 - share) * total", "z[target] -= total"),
        ("if (share) loss -=", "if (false) loss -="),
        ("splat(share / (tokens * rows))", "splat(share / rows)"),
        ("N * kBlock, i > 0,", "N * kBlock, false,"),
        ("E_padded, v > 0, rows", "E_padded, false, rows"),
        ("a.by_values ? 1 : E, of_value", "E, of_value"),
        ("of.real[portion.begin + r] * E, s.dy", "(portion.begin + r) * E, s.dy"),
        ("here > largest ? here : largest", "largest"),
    ]
]


MUTATIONS += [
    ("ctc.cpp", old, new, "ctc")
    for old, new in [
        ("labels[s / 2] != labels[s / 2 - 1]", "true"),
        ("s + 2 >= S ? Sum::kOne", "s + 1 >= S ? Sum::kOne"),
        ("Sum::add(last[S - 1], last[S - 2])", "last[S - 1]"),
        (
            "run_row<Plain>(row, memory) || run_row<Logs>(row, memory)",
            "run_row<Plain>(row, memory)",
        ),
        ("if (scale<Sum>(now, S) == Sum::kNone) return false;", "scale<Sum>(now, S);"),
        ("next[s] = Sum::times(beta[s], emitted[t * S + s]);", "next[s] = beta[s];"),
    ]
]


MUTATIONS += [
    ("convolution.h", old, new, "conv")
    for old, new in [
        ("smaller(a.width, a.time - first)", "smaller(a.width, a.time - first - 1)"),
        ("longshort::ceil_div(a.left - j, a.stride) : 0", "(a.left - j) / a.stride : 0"),
        ("Range{first, smaller(end, steps)}", "Range{first, steps}"),
        ("while (n > 0 && dy[n - 1] == 0) --n;", ""),
        ("(a.width - frames.end) * D * sizeof(float)", "0"),
        ("tile.sum[r][n] = load(s.bias + column", "tile.sum[r][n] = load(s.bias"),
        ("memset(a.dx + b * a.time * D, 0, a.time * D * sizeof(float));", ""),
        ("if (C != N * kBlock) {", "if (false) {"),
    ]
]


MUTATIONS += [
    ("adam.h", "mul_add(g - m, to_mean, m)", "mul_add(g, to_mean, m)", "optimizers"),
    ("adam.h", "mul_add(g * g - v, to_square, v)", "mul_add(g - v, to_square, v)", "optimizers"),
    ("adam.h", "(square_root(v) + epsilon)", "square_root(v)", "optimizers"),
    ("adam.h", "load_n(gradient + i, width) * factor", "load_n(gradient + i, width)", "optimizers"),
    ("adam.cpp", "norm <= a.clip ? 1 : a.clip", "a.clip", "optimizers"),
    ("adam.cpp", " + (norm - norm)", "", "optimizers"),
    ("pooling.h", "here == largest[n] ? ties[n] + one : ties[n]", "ties[n]", "pooling"),
    ("pooling.h", "((here > largest[n]) | (here != here))", "(here > largest[n])", "pooling"),
    ("pooling.h", "splat(real ? -__builtin_inff() : 0.0f)", "Vector{}", "pooling"),
    ("pooling.h", "if (!a.mask[b * a.steps + t]) continue;", "", "pooling"),
    ("pooling.h", "if (a.mask[b * a.steps + t])\n", "", "pooling"),
]


MUTATIONS += [
    (name, old, new, "attention" if name.startswith("attention") else "dense")
    for name, old, new in [
        ("attention.h", "!a.mask[b * a.source + s + i]", "false"),
        ("attention.h", "largest = here > largest ? here : largest;", ""),
        ("attention.h", "load(scores + i) / total", "load(scores + i)"),
        ("attention.h", "mul_add(-y, y, one)", "one"),
        ("attention.h", " + load_n(arriving + i, n)", ""),
        ("attention.h", "(load(scores + i) - mean)", "load(scores + i)"),
        ("attention.h", "clear_rows(dkeys, 0, S, A);", ""),
        ("attention.cpp", "for (int64_t b = 0; b < B; ++b)\n", "for (int64_t b = 1; b < B; ++b)\n"),
        ("dense.h", "load(sums + n) + bias", "load(sums + n)"),
        ("dense.h", " * activation_slope(a.activation, load_n(y + c, n - c))", ""),
        ("dense.h", "memcpy(line + D, a.more + r * M,", "memcpy(line + D, a.x + r * D,"),
        ("dense.h", "sums + D, M * sizeof(float)", "sums, M * sizeof(float)"),
        ("dense.cpp", "clear_others(real, a.count, a.more_features, a.dmore);", "{}"),
        ("dense.h", "N * kBlock, first > 0,", "N * kBlock, false,"),
        ("dense.h", "m < D ? a.dweights + m * C : a.dbias", "a.dweights + m % D * C"),
        ("turn.h", "outer, inner, 0x31", "outer, inner, 0x20"),
        ("dense.cpp", "if (n < units) real.push_back(r);", "real.push_back(r);"),
    ]
]


# Products of bfloat16s: with AMX in plain code.
BFLOAT16 = [
    ("products.h", "v + i < width ? square[i] : splat(1.0f)", "square[i]", "dense"),
    ("bfloat16.h", "load_left(c + 1), dot();", "load_left(c + 1);", "kernels"),
    ("bfloat16.h", "load_left(c + 2), dot();", "", "kernels"),
    ("bfloat16.h", "load(out + i * kLanes) + load(to", "load(to", "kernels"),
    ("turn.h", "low[2 * i + 1] = b[i];", "low[2 * i + 1] = a[i];", "kernels"),
    ("products.h", "column + i * kChunk", "column", "token_loss_kernel"),
    ("products.h", "even | (odd << 16)", "odd | (even << 16)", "token_loss_kernel"),
    ("token_loss.h", "wider ? columns - kChunk - i : i", "i", "token_loss_kernel"),
]
MUTATIONS += BFLOAT16


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
    options = ["-DLONGSHORT_SETS=avx2;neon;portable"]
    if mutation in BFLOAT16:
        options = ["-DLONGSHORT_SETS=amx;portable", "-DLONGSHORT_EMULATED=ON"]
    library = build(tmp_path, *options)
    arguments = ["-x", "-q", "-n0", "-p", "no:cacheprovider", ROOT / "tests" / f"test_{tests}.py"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env={**os.environ, "LONGSHORT_LIBRARY": str(library)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == (1 if mutation else 0), result.stdout
