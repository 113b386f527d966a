"""Losses and a linear readout, forward and backward, so that a network trains with NumPy alone.

A loss returns its value and its gradient at once. What is not observed counts nowhere: not in the value, not in the
gradient, not in the number of items that the mean is over.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gatelab.cells.cell import Array
from gatelab.core.errors import InputError


def mean_squared_error(prediction: Array, target: Array, observed: Array | None = None) -> tuple[float, Array]:
    """Mean of (prediction − target)² over what is observed, and ∂loss/∂prediction.

    Args:
        prediction: any shape, such as ``(T, B, O)``.
        target: the same shape.
        observed: bool, of the same shape or its first axes, such as ``(T, B)``; everything where not given.

    Returns:
        The loss, 0 where nothing is observed, and its gradient in ``prediction``'s shape and dtype.

    Raises:
        InputError: shapes that do not fit.
    """
    target = np.asarray(target, prediction.dtype)
    mask = _mask(observed, prediction.shape)
    _require_shape("target", target.shape, prediction.shape)
    error = np.subtract(prediction, target, out=np.zeros_like(prediction), where=mask)
    count = max(int(mask.sum()), 1)
    return float((error**2).sum() / count), 2 * error / count


def softmax(logits: Array) -> Array:
    """exp(logits) over its sum along the last axis ``(…, K)``; the largest logit is taken off, so nothing overflows."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))  # (…, K)
    return e / e.sum(axis=-1, keepdims=True)


def cross_entropy(logits: Array, target: Array, observed: Array | None = None) -> tuple[float, Array]:
    """Mean of −log softmax(logits)[target] over what is observed, in nats, and ∂loss/∂logits.

    Args:
        logits: ``(…, K)`` scores of K classes, such as ``(T, B, K)``.
        target: ``(…)`` the right class of each item, 0 to K − 1; anything where not observed.
        observed: ``(…)`` bool; everything where not given.

    Returns:
        The loss, 0 where nothing is observed, and its gradient (softmax − one-hot, over the count) in ``logits``'
        shape and dtype.

    Raises:
        InputError: shapes that do not fit, or a class that does not exist.
    """
    K = logits.shape[-1]
    target = np.asarray(target)
    mask = _mask(observed, logits.shape[:-1])  # (…)
    _require_shape("target", target.shape, logits.shape[:-1])
    target = np.where(mask, target, 0)
    if not np.issubdtype(target.dtype, np.integer) or (target < 0).any() or (target >= K).any():
        raise InputError("a target is not a class", expected=f"whole numbers from 0 to {K - 1}", got=target)
    logits = np.where(mask[..., None], logits, 0)  # (…, K)
    shifted = logits - logits.max(axis=-1, keepdims=True)  # (…, K)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))  # (…, K)
    picked = np.take_along_axis(log_p, target[..., None], axis=-1)[..., 0]  # (…)
    count = max(int(mask.sum()), 1)
    dlogits = (np.exp(log_p) - (np.arange(K) == target[..., None])) / count  # (…, K)
    return float(-np.where(mask, picked, 0).sum() / count), np.where(mask[..., None], dlogits, 0).astype(logits.dtype)


class LinearParams(NamedTuple):
    """A linear readout, named and laid out as in ``torch.nn.Linear``."""

    weight: Array  # (O, H)
    bias: Array  # (O,)


def linear(params: LinearParams, h: Array) -> Array:
    """``h (…, H)`` to ``h Wᵀ + b (…, O)``."""
    return h @ params.weight.T + params.bias


def linear_backward(params: LinearParams, h: Array, doutput: Array) -> tuple[Array, LinearParams]:
    """From ∂loss/∂output ``(…, O)`` to ∂loss/∂h ``(…, H)`` and the parameters."""
    rows_h, rows_d = h.reshape(-1, h.shape[-1]), doutput.reshape(-1, doutput.shape[-1])  # (N, H), (N, O)
    return doutput @ params.weight, LinearParams(weight=rows_d.T @ rows_h, bias=rows_d.sum(0))


def _mask(observed: Array | None, shape: tuple[int, ...]) -> Array:
    """``observed`` spread over ``shape``, whose first axes it has."""
    if observed is None:
        return np.ones(shape, bool)
    observed = np.asarray(observed)
    if observed.dtype != bool or observed.shape != shape[: observed.ndim]:
        raise InputError(
            "the mask does not fit", expected=f"bool of shape {shape} or its first axes", got=observed.shape
        )
    return np.broadcast_to(observed.reshape(observed.shape + (1,) * (len(shape) - observed.ndim)), shape)


def _require_shape(name: str, got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if got != expected:
        raise InputError(f"the shape of the {name} does not fit", expected=expected, got=got)
