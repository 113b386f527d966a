"""One layer in one direction by way of the NumPy cells and by way of the kernels, with the same arguments and results.

Arrays are padded, time first, and items are sorted by length, the longest first.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatelab.cells import CELLS, initial_parameters, observed_from_lengths, sequence, to_state_dict
from gatelab.nn import fused, open_loop
from gatelab.nn.extras import Noise
from gatelab.nn.layers import LAYERS


class Pass(NamedTuple):
    """What one pass forward and backward gives."""

    output: np.ndarray  # (T, B, H) zero under the mask
    state: list[np.ndarray]  # (B, H) each
    dx: np.ndarray  # (T, B, I) zero under the mask
    dstate: list[np.ndarray]  # (B, H) each
    dparams: list[np.ndarray]  # in the order of the cell


class Case(NamedTuple):
    """What goes in."""

    cell: str
    params: tuple  # the cell's own
    x: np.ndarray  # (T, B, I)
    lengths: np.ndarray  # (B,)
    state: list[np.ndarray]  # (B, H) each
    doutput: np.ndarray  # (T, B, H)
    dstate: list[np.ndarray]  # (B, H) each
    backwards: bool


def case(cell, lengths, input_size, hidden_size, backwards=False, dtype=np.float64, seed=0, scale=0.5) -> Case:
    """Everything drawn at random; the longest item sets T."""
    rng = np.random.default_rng(seed)
    params = initial_parameters(CELLS[cell], input_size, hidden_size, rng, dtype=dtype)
    for array in to_state_dict(params).values():
        array[...] = rng.normal(0, scale, array.shape)
    T, B, count = max(lengths), len(lengths), len(CELLS[cell].State._fields)
    x, doutput = (rng.normal(size=(T, B, size)).astype(dtype) for size in (input_size, hidden_size))
    state, dstate = ([rng.normal(size=(B, hidden_size)).astype(dtype) for _ in range(count)] for _ in range(2))
    return Case(cell, params["l0"], x, np.sort(lengths)[::-1], state, doutput, dstate, backwards)


def in_numpy(c: Case) -> Pass:
    """By way of ``gatelab.cells``."""
    cell, way = CELLS[c.cell], slice(None, None, -1 if c.backwards else 1)
    observed = observed_from_lengths(c.lengths, len(c.x))[:, :, None]  # (T, B, 1)
    x, doutput = np.where(observed, c.x, 0), np.where(observed, c.doutput, 0)  # (T, B, ·)
    output, record = sequence.scan(cell, c.params, x[way], cell.State(*c.state), observed[way])
    dx, dstate, dparams, _ = sequence.scan_backward(cell, doutput[way], cell.State(*c.dstate), record)
    return Pass(output[way], list(record.states[-1]), dx[way], list(dstate), list(dparams))


def by_kernel(c: Case, keep: bool = True) -> Pass:
    """By way of ``gatelab.kernels``, as the layers call them; without ``keep`` there are no gradients."""
    (_, I), H = c.params.weight_ih.shape, c.state[0].shape[1]  # noqa: E741
    layer = LAYERS[CELLS[c.cell].family](I, H, **CELLS[c.cell].options).to(torch.from_numpy(c.x).dtype)
    w = open_loop.Weights(*(torch.from_numpy(array.copy()).requires_grad_(keep) for array in c.params))
    observed = torch.from_numpy(observed_from_lengths(c.lengths, len(c.x)))  # (T, B)
    rows = torch.from_numpy(c.x)[observed].requires_grad_(keep)  # (N, I)
    state = tuple(torch.from_numpy(s.copy()).requires_grad_(keep) for s in c.state)
    assert fused.supports(layer, rows)
    sizes = None if observed.all() else observed.sum(1)
    out, final = fused.scan(layer, w, Noise(), rows, sizes, state, c.backwards)
    output, values = _padded(out, observed), [s.detach().numpy() for s in final]
    if not keep:
        return Pass(output, values, np.empty(0), [], [])
    given = [torch.from_numpy(c.doutput)[observed], *map(torch.from_numpy, c.dstate)]
    learned = [p for p in w if isinstance(p, Tensor)]
    dx, *others = torch.autograd.grad([out, *final], [rows, *state, *learned], given)
    others = [d.numpy() for d in others]
    return Pass(output, values, _padded(dx, observed), others[: len(state)], others[len(state) :])


def _padded(rows: Tensor, observed: Tensor) -> np.ndarray:
    padded = rows.new_zeros(*observed.shape, rows.shape[1])
    padded[observed] = rows.detach()
    return padded.numpy()  # (T, B, ·)


def arrays(result: Pass) -> list[np.ndarray]:
    """All arrays of a pass in order."""
    return [array for field in result for array in (field if isinstance(field, list) else [field])]
