"""What `recompute=True` keeps for the backward pass, and what it costs in time.

    python benchmarks/recompute.py seed mid long
    python benchmarks/recompute.py --steps 100000    # one training step over so many time steps

Kept: bytes that JAX holds between the forward and the backward pass beyond the arguments, over the
bytes without recomputation. Time: forward, backward and gradients of the weights, alternating.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

import longshort
from turns import SHAPES


def problem(shape: tuple[int, int, int, int]) -> tuple[list[jax.Array], jax.Array]:
    B, T, D, H = shape
    rng = np.random.default_rng(0)
    sizes = ((D, 4 * H), (H, 4 * H), (4 * H,))
    weights = [jnp.asarray(rng.normal(size=s) / np.sqrt(s[0]), jnp.float32) for s in sizes]
    return weights, jnp.asarray(rng.normal(size=(B, T, D)), jnp.float32)


def loss_of(recompute: bool):
    def loss(weights, x):
        hs, h, c = longshort.ops.lstm(x, *weights, recompute=recompute, path="kernel")
        return jnp.sum(hs * hs) + jnp.sum(h * c)

    return loss


def kept_bytes(recompute: bool, weights: list[jax.Array], x: jax.Array) -> int:
    _, backward = jax.vjp(loss_of(recompute), weights, x)
    given = {array.unsafe_buffer_pointer() for array in (*weights, x)}
    kept = {a.unsafe_buffer_pointer(): a.nbytes for a in jax.tree.leaves(backward)}
    return sum(size for pointer, size in kept.items() if pointer not in given)


def compare(name: str, rounds: int) -> None:
    weights, x = problem(SHAPES[name])
    kept = [kept_bytes(recompute, weights, x) for recompute in (False, True)]
    steps = [jax.jit(jax.value_and_grad(loss_of(recompute))) for recompute in (False, True)]
    results = [jax.block_until_ready(step(weights, x)) for step in steps]
    for a, b in zip(*(jax.tree.leaves(result) for result in results), strict=True):
        assert float(jnp.abs(a - b).max()) <= 1e-4 * float(jnp.abs(a).max())
    ratios = []
    for _ in range(rounds):
        seconds = []
        for step in steps:
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < 0.5:
                jax.block_until_ready(step(weights, x))
                count += 1
            seconds.append((time.perf_counter() - start) / count)
        ratios.append(seconds[1] / seconds[0])
    print(
        f"{name:6} kept {kept[0] / 1e6:.1f} MB, recomputing {kept[1] / 1e6:.1f} MB "
        f"({kept[1] / kept[0]:.2f}, target 0.33)  time {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f}-{max(ratios):.2f}, target 1.40)",
        flush=True,
    )


def long_sequence(steps: int) -> None:
    weights, x = problem((8, steps, 16, 64))
    step = jax.jit(jax.value_and_grad(loss_of(True)))
    start = time.perf_counter()
    value, _ = jax.block_until_ready(step(weights, x))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    seconds = time.perf_counter() - start
    print(f"8 x {steps} x 16, 64 units: loss {value:.4g}, {seconds:.1f} s, peak {peak:.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shapes", nargs="*", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--steps", type=int, help="one training step over a sequence so long")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    for name in arguments.shapes:
        compare(name, arguments.rounds)
    if arguments.steps:
        long_sequence(arguments.steps)


if __name__ == "__main__":
    main()
