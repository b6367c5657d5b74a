"""The options of the LSTM's variants, alone and in pairs, and arrays for them."""

import itertools

import numpy as np

# Each name and its settings; True stands for random weights. `training` gives the noise a key:
# without one, zoneout is by expectation and there is no update dropout.
OPTIONS = {
    "peephole": {"peephole": True},
    "coupled": {"coupled": True},
    "projection": {"projection": True},
    "layer_norm": {"layer_norm": True},
    "relu": {"activation": "relu"},
    "softsign": {"activation": "softsign"},
    "linear": {"activation": "linear"},
    "hard_sigmoid": {"recurrent_activation": "hard_sigmoid"},
    "cell_clip": {"cell_clip": 0.6},
    "expected_zoneout": {"zoneout": (0.2, 0.4)},
    "zoneout": {"zoneout": (0.3, 0.2), "training": True},
    "update_dropout": {"update_dropout": 0.4, "training": True},
}
ALONE = [(name,) for name in OPTIONS]
PAIRS = [  # of options that do not exclude each other
    (a, b)
    for a, b in itertools.combinations(OPTIONS, 2)
    if not (OPTIONS[a].keys() & OPTIONS[b].keys()) - {"training"}
    and {a, b} != {"expected_zoneout", "update_dropout"}
]


def settings(*names):
    """The settings of all the named options."""
    return {key: value for name in names for key, value in OPTIONS[name].items()}


def variant_arguments(
    rng, B, T, D, H, *, peephole=False, coupled=False, projection=False, layer_norm=False,
    training=False, **given,
):  # fmt: skip
    """Weights, states and the variant's own arguments of an LSTM, by their names in LSTMInputs.

    `given` are settings that go through as they are. With a projection h has max(1, H // 2) values.
    """
    G, P = 3 if coupled else 4, max(1, H // 2) if projection else H
    arrays = {
        "kernel": rng.normal(size=(D, G * H)) / np.sqrt(D),
        "recurrent_kernel": rng.normal(size=(P, G * H)) / np.sqrt(P),
        "bias": rng.normal(size=G * H),
        "h0": rng.normal(size=(B, P)),
        "c0": rng.normal(size=(B, H)),
        "peephole": rng.normal(size=(G - 1, H)) if peephole else None,
        "projection": rng.normal(size=(H, P)) / np.sqrt(H) if projection else None,
        "norm_gains": rng.normal(size=(2, G * H)) if layer_norm else None,
        "norm_cell": rng.normal(size=(2, H)) if layer_norm else None,
    }
    arrays = {name: value.astype("f4") for name, value in arrays.items() if value is not None}
    key = {"noise_key": rng.integers(2**32, size=2, dtype=np.uint32), "first_step": 3}
    return arrays | given | {"coupled": coupled} | (key if training else {})


def _together(names):
    return all(pair in PAIRS for pair in itertools.combinations(names, 2))


def _several():
    """Few sets of options in which each pair of PAIRS occurs: where a call takes long."""
    sets = [names for names in itertools.combinations(OPTIONS, 7) if _together(names)]
    left, chosen = set(PAIRS), []
    while left:
        best = max(sets, key=lambda names: len(left & set(itertools.combinations(names, 2))))
        chosen.append(best)
        left -= set(itertools.combinations(best, 2))
    return chosen


SEVERAL = [
    *_several(),
    ("peephole", "projection", "layer_norm", "cell_clip", "zoneout", "update_dropout"),
]
