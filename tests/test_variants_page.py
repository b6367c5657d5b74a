"""The table of docs/variants.md; `python tests/test_variants_page.py` writes it."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from longshort import ops
from longshort._errors import DataError, PathWarning
from longshort.layers import LSTM, Bidirectional

PAGE = Path(__file__).parent.parent / "docs" / "variants.md"
ROWS = {  # of the table: arguments of the layer, and what holds them in ONNX's LSTM operator
    "`peephole`": ({"peephole": True}, "`P`"),
    "`coupled`": ({"coupled": True}, "`input_forget` (3)"),
    "`projection`": ({"projection": 2}, "none"),
    "`layer_norm`": ({"layer_norm": True}, "none"),
    "`zoneout`": ({"zoneout": 0.2}, "none"),
    "dropout on the update": (
        {"recurrent_dropout": 0.2, "recurrent_dropout_on": "update"},
        "not needed (2)",
    ),
    "`weight_drop`": ({"weight_drop": 0.2}, "not needed (2)"),
    "`cell_clip`": ({"cell_clip": 0.5}, "none (1)"),
    "relu": ({"activation": "relu"}, "`activations`: Relu"),
    "softsign": ({"activation": "softsign"}, "`activations`: Softsign"),
    "linear": ({"activation": "linear"}, "`activations`: Affine"),
    "hard_sigmoid": ({"recurrent_activation": "hard_sigmoid"}, "`activations`: HardSigmoid"),
    "another activation": ({"activation": "gelu"}, "none"),
}
COLUMNS = ("option", "path", "fused types", "masks", "recompute", "both directions at once", "ONNX")


def path(options):
    return {"kernel": "fused", "keras": "keras.ops"}[LSTM(3, **options).kernel_path.name]


def fused_types(options):
    types = ("float32", "bfloat16", "float16")
    policies = {t: t if t == "float32" else f"mixed_{t}" for t in types}
    found = [t for t, policy in policies.items() if path({"dtype": policy} | options) == "fused"]
    return ", ".join(found) or "none"


def skips_what_is_masked(options):
    layer, x = LSTM(3, **options), np.random.default_rng(0).normal(size=(1, 3, 2)).astype("f4")
    mask = np.array([[True, False, True]])
    together = layer(np.where(mask[..., None], x, np.nan), mask=mask)
    return "yes" if np.abs(together - layer(x[:, mask[0]])).max() < 1e-5 else "no"


def recomputes(options):
    try:
        LSTM(3, recompute=True, **options)(np.zeros((1, 2, 2), "f4"))
    except DataError:
        return "no"
    return "yes"


def side_by_side(options):
    both = Bidirectional(LSTM(3, **options))
    both.build((1, 2, 2))
    return "yes" if both._fits_together() else "no"


def table():
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for name, (options, field) in ROWS.items():
        checks = (path, fused_types, skips_what_is_masked, recomputes, side_by_side)
        cells = [name, *(check(options) for check in checks), field]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def written(page, new):
    return re.sub(r"(<!-- table -->\n).*(<!-- end -->)", rf"\1{new}\n\2", page, flags=re.S)


@pytest.mark.skipif(ops.choose_path().name != "kernel", reason="installed without a compiler")
@pytest.mark.filterwarnings("ignore::longshort.PathWarning")
def test_the_table_is_what_the_code_does():
    page = PAGE.read_text()
    assert page == written(page, table()), "run python tests/test_variants_page.py"


if __name__ == "__main__":
    warnings.simplefilter("ignore", PathWarning)
    PAGE.write_text(written(PAGE.read_text(), table()))
