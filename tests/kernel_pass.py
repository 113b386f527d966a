"""One layer in one direction by way of the NumPy cells and by way of the kernels, with the same arguments and results.

Arrays are padded, time first, and items are sorted by length, the longest first.
"""

from typing import NamedTuple

import numpy as np

from gatelab.cells import CELLS, initial_parameters, observed_from_lengths, sequence, to_state_dict
from gatelab.kernels import scan


class Pass(NamedTuple):
    """What one pass forward and backward gives."""

    output: np.ndarray  # (T, B, H) zero under the mask
    state: list[np.ndarray]  # (B, H) each
    dx: np.ndarray  # (T, B, I) zero under the mask
    dstate: list[np.ndarray]  # (B, H) each
    dweight_ih: np.ndarray  # (G·H, I)
    dbias_hh: np.ndarray  # (G·H,)


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
    T, B = max(lengths), len(lengths)
    shape, count = (B, hidden_size), len(CELLS[cell].State._fields)
    draw = lambda *size: rng.normal(size=size).astype(dtype)  # noqa: E731
    states, dstates = ([draw(*shape) for _ in range(count)] for _ in range(2))
    lengths = np.sort(lengths)[::-1]
    doutput = draw(T, B, hidden_size)
    return Case(cell, params["l0"], draw(T, B, input_size), lengths, states, doutput, dstates, backwards)


def in_numpy(c: Case) -> Pass:
    """By way of ``gatelab.cells``."""
    cell, way = CELLS[c.cell], slice(None, None, -1 if c.backwards else 1)
    observed = observed_from_lengths(c.lengths, len(c.x))[:, :, None]  # (T, B, 1)
    x, doutput = np.where(observed, c.x, 0), np.where(observed, c.doutput, 0)
    output, record = sequence.scan(cell, c.params, x[way], cell.State(*c.state), observed[way])
    dx, dstate, dparams, _ = sequence.scan_backward(cell, doutput[way], cell.State(*c.dstate), record)
    final = list(record.states[-1])
    return Pass(output[way], final, dx[way], list(dstate), dparams.weight_ih, dparams.bias_hh)


def by_kernel(c: Case, threads: int = 1, keep: bool = True) -> Pass:
    """By way of ``gatelab.kernels``; without ``keep`` there are no gradients."""
    p, H, dtype = c.params, c.state[0].shape[1], c.x.dtype
    observed = observed_from_lengths(c.lengths, len(c.x))  # (T, B)
    offsets = np.concatenate([[0], observed.sum(1).cumsum()])  # (T + 1,)
    x = c.x[observed]  # (N, I)
    reached = p.bias_hh.copy()
    if c.cell == "gru":
        reached[2 * H :] = 0
    a = np.ascontiguousarray(x @ p.weight_ih.T + p.bias_ih + reached)  # (N, G·H)
    (N, width), bias_n = a.shape, np.ascontiguousarray(p.bias_hh[-H:])
    nothing = lambda *shape: np.full(shape, np.nan, dtype)  # noqa: E731
    saved = nothing(N, 4 * H if c.cell == "gru" else width)
    record = scan.Record(saved, nothing(N, H) if len(c.state) > 1 else nothing(0, 0))
    out, state, extras = nothing(N, H), [s.copy() for s in c.state], scan.no_extras(dtype)
    scan.forward(
        c.cell, offsets, c.backwards, a, p.weight_hh, bias_n, state, out, record, extras, keep, threads
    )  # fmt: skip
    output = _padded(out, observed)
    if not keep:
        return Pass(output, state, *[np.empty(0)] * 4)
    dout, dstate = np.ascontiguousarray(c.doutput[observed]), [d.copy() for d in c.dstate]
    gradients = scan.Gradients(nothing(N, width), nothing(N, H) if c.cell == "gru" else nothing(0, 0), nothing(0, 0))
    scan.backward(
        c.cell, offsets, c.backwards, p.weight_hh, c.state, out, record, extras, dout, dstate, gradients, threads
    )  # fmt: skip
    recurrent = np.concatenate([gradients.a[:, : 2 * H], gradients.s_n], 1) if c.cell == "gru" else gradients.a
    dx = _padded(gradients.a @ p.weight_ih, observed)
    return Pass(output, state, dx, dstate, gradients.a.T @ x, recurrent.sum(0))


def _padded(rows: np.ndarray, observed: np.ndarray) -> np.ndarray:
    padded = np.zeros((*observed.shape, rows.shape[1]), rows.dtype)
    padded[observed] = rows
    return padded  # (T, B, ·)


def arrays(result: Pass) -> list[np.ndarray]:
    """All arrays of a pass in order."""
    return [array for field in result for array in (field if isinstance(field, list) else [field])]
