"""A process that runs one Keras 3 layer on one backend, and does what it is told on standard input.

Keras fixes its backend when it is imported, so that each backend needs a process. ``peers.py`` starts it with
KERAS_BACKEND set and a file of arrays; a line ``results FILE`` writes what a call computes, in torch's names and
layout, and a line ``seconds N`` answers how long N calls took.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

if len(sys.argv) == 5 and hasattr(os, "sched_setaffinity"):  # before anything counts cores to make threads for
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[4])])

import keras
import numpy as np

Arrays = Mapping[str, np.ndarray]
Work = Callable[[], tuple[Any, list[Any], list[Any]]]
"""Runs the layer: output ``(B, T, H)``, final states, gradients of input and weights (none without training)."""

ORDERS = {"rnn": (0,), "lstm": (0, 1, 2, 3), "gru": (1, 0, 2)}
"""Where torch's gates lie in Keras: its GRU has z, r, n. Each order is its own inverse."""


def main() -> None:
    """Serves ``peers.py``: arrays, cell, training or forward, threads."""
    path, cell, mode, threads = sys.argv[1:]
    arrays = dict(np.load(path))
    layer = built(cell, arrays)
    x, doutput = (np.ascontiguousarray(arrays[name].swapaxes(0, 1)) for name in ("x", "doutput"))  # (B, T, I or H)
    make = {"torch": torch_work, "jax": jax_work}[keras.backend.backend()]
    work, wait = make(layer, x, doutput if mode == "train" else None, int(threads))
    print("ready", flush=True)
    for line in sys.stdin:
        order, value = line.split(maxsplit=1)
        if order == "results":
            np.savez(value.strip(), **named(cell, arrays, work()))
            print("done", flush=True)
        else:
            print(seconds(work, wait, int(value)), flush=True)


def seconds(work: Work, wait: Callable[[Any], Any], repeats: int) -> float:
    """How long ``repeats`` calls take."""
    begun = time.perf_counter()
    for _ in range(repeats):
        result = work()
    wait(result)
    return time.perf_counter() - begun


def built(cell: str, arrays: Arrays) -> Any:
    """Keras's layer with torch's weights."""
    H = arrays["weight_hh_l0"].shape[1]
    layer = {"rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell](
        H, return_sequences=True, return_state=True
    )
    layer.build((None, None, arrays["x"].shape[2]))
    kernel, recurrent = (reordered(cell, arrays[f"weight_{side}_l0"]).T for side in ("ih", "hh"))  # (I or H, G·H)
    biases = [reordered(cell, arrays[f"bias_{side}_l0"]) for side in ("ih", "hh")]  # (G·H,) each
    layer.set_weights([kernel, recurrent, np.stack(biases) if cell == "gru" else biases[0] + biases[1]])
    return layer


def reordered(cell: str, rows: np.ndarray) -> np.ndarray:
    """The gates' blocks of ``rows (G·H, …)`` in the other library's order."""
    blocks = np.split(rows, len(ORDERS[cell]))
    return np.concatenate([blocks[k] for k in ORDERS[cell]])


def named(cell: str, arrays: Arrays, found: tuple[Any, list[Any], list[Any]]) -> dict[str, np.ndarray]:
    """Results under torch's names and in torch's layout."""
    output, states, gradients = (keras.tree.map_structure(keras.ops.convert_to_numpy, part) for part in found)
    results = {"output": output.swapaxes(0, 1)}  # (T, B, H)
    results |= {name: state[None] for name, state in zip("hc", states, strict=False)}  # (1, B, H) each
    if gradients:
        x, kernel, recurrent, bias = gradients
        biases = bias if cell == "gru" else (bias, bias)  # one bias in Keras is the sum of torch's two
        results["∂x"] = x.swapaxes(0, 1)  # (T, B, I)
        for side, weight, own in zip(("ih", "hh"), (kernel, recurrent), biases, strict=True):
            results[f"∂weight_{side}_l0"] = reordered(cell, weight.T)  # (G·H, I or H)
            results[f"∂bias_{side}_l0"] = reordered(cell, own)  # (G·H,)
    return results


def torch_work(layer: Any, x: np.ndarray, doutput: np.ndarray | None, threads: int) -> tuple[Work, Callable]:
    """Keras on torch, eager."""
    import torch

    torch.set_num_threads(threads)
    given = torch.from_numpy(x).requires_grad_(doutput is not None)
    leaves = [given, *(weight.value for weight in layer.trainable_weights)]
    seed = None if doutput is None else torch.from_numpy(doutput)

    def work() -> tuple[Any, list[Any], list[Any]]:
        if seed is None:
            with torch.no_grad():
                output, *states = layer(given)
            return output, states, []
        output, *states = layer(given)
        ends = [seed, *map(torch.ones_like, states)]
        return output, states, list(torch.autograd.grad([output, *states], leaves, ends))

    return work, lambda result: result


def jax_work(layer: Any, x: np.ndarray, doutput: np.ndarray | None, threads: int) -> tuple[Work, Callable]:
    """Keras on JAX, compiled."""
    import jax

    fixed = [variable.value for variable in layer.non_trainable_variables]
    weights, given = [variable.value for variable in layer.trainable_variables], jax.numpy.asarray(x)

    def forward(x: Any, weights: Any) -> tuple[Any, list[Any]]:
        (output, *states), _ = layer.stateless_call(weights, fixed, x)
        return output, states

    def loss(x: Any, weights: Any) -> tuple[Any, Any]:
        output, states = forward(x, weights)
        return (output * doutput).sum() + sum(state.sum() for state in states), (output, states)

    def trained(x: Any, weights: Any) -> tuple[Any, list[Any], list[Any]]:
        (dx, dweights), (output, states) = jax.grad(loss, argnums=(0, 1), has_aux=True)(x, weights)
        return output, states, [dx, *dweights]

    compiled = jax.jit(trained if doutput is not None else lambda x, weights: (*forward(x, weights), []))
    return (lambda: compiled(given, weights)), jax.block_until_ready


if __name__ == "__main__":
    main()
