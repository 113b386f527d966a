"""Optimizers and clipping over named arrays, changed in place.

    optimizer = Adam(to_state_dict(params), learning_rate=1e-3)
    norm = clip_by_norm(gradients, 1.0)
    optimizer.step(gradients)

Each optimizer is one rule for one array, ``update``; ``p`` is the parameter, ``g`` its gradient. Names, defaults and
arithmetic are those of ``torch.optim``, so that a run can be followed in both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from gatelab.cells.cell import Array
from gatelab.core.errors import InputError, TrainingError
from gatelab.core.registry import Registry

OPTIMIZERS = Registry(
    "optimizer",
    {
        "sgd": "gatelab.cells.optim:SGD",
        "momentum": "gatelab.cells.optim:Momentum",
        "rmsprop": "gatelab.cells.optim:RMSProp",
        "adam": "gatelab.cells.optim:Adam",
    },
)
"""Every optimizer by name."""


class Optimizer(ABC):
    """Changes arrays in place, given their gradients.

    Args:
        params: the arrays by name; every ``step`` changes these very arrays.
        learning_rate: size of a step; may be changed between steps.
    """

    memory: tuple[str, ...] = ()
    """What the rule remembers of each parameter, each an array of its shape that starts at zero."""

    def __init__(self, params: Mapping[str, Array], learning_rate: float):
        self.params = params
        self.learning_rate = learning_rate
        self.steps = 0
        self.state = {name: {key: np.zeros_like(p) for key in self.memory} for name, p in params.items()}

    def step(self, gradients: Mapping[str, Array]) -> None:
        """One step down ``gradients``, which have the names and shapes of the parameters.

        Raises:
            InputError: the names are not those of the parameters.
        """
        if gradients.keys() != self.params.keys():
            odd = sorted(gradients.keys() ^ self.params.keys())
            raise InputError("the gradients are not those of the parameters", got=f"on one side only: {', '.join(odd)}")
        self.steps += 1
        for name, p in self.params.items():
            self.update(p, gradients[name], **self.state[name])

    @abstractmethod
    def update(self, p: Array, g: Array, **memory: Array) -> None:
        """Changes one parameter, and what is remembered of it, in place."""


class SGD(Optimizer):
    """Gradient descent: p ← p − η g."""

    def __init__(self, params: Mapping[str, Array], learning_rate: float = 1e-2):
        super().__init__(params, learning_rate)

    def update(self, p: Array, g: Array, **memory: Array) -> None:
        """One step for one array."""
        p -= self.learning_rate * g


class Momentum(Optimizer):
    """Heavy ball (Polyak 1964): v ← μ v + g, p ← p − η v; or Nesterov's form (Sutskever et al. 2013)."""

    memory = ("velocity",)

    def __init__(
        self, params: Mapping[str, Array], learning_rate: float = 1e-2, momentum: float = 0.9, nesterov: bool = False
    ):
        super().__init__(params, learning_rate)
        self.momentum = momentum
        self.nesterov = nesterov

    def update(self, p: Array, g: Array, **memory: Array) -> None:
        """One step for one array."""
        v = memory["velocity"]
        v *= self.momentum
        v += g
        p -= self.learning_rate * (g + self.momentum * v if self.nesterov else v)


class RMSProp(Optimizer):
    """Each step divided by the gradient's recent size (Hinton 2012, lecture 6e): s ← α s + (1 − α) g²."""

    memory = ("square",)

    def __init__(
        self, params: Mapping[str, Array], learning_rate: float = 1e-2, alpha: float = 0.99, epsilon: float = 1e-8
    ):
        super().__init__(params, learning_rate)
        self.alpha = alpha
        self.epsilon = epsilon

    def update(self, p: Array, g: Array, **memory: Array) -> None:
        """One step for one array."""
        s = memory["square"]
        s *= self.alpha
        s += (1 - self.alpha) * g**2
        p -= self.learning_rate * g / (np.sqrt(s) + self.epsilon)


class Adam(Optimizer):
    """Means of gradient and square, corrected for starting at zero (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1)."""

    memory = ("mean", "square")

    def __init__(
        self,
        params: Mapping[str, Array],
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ):
        super().__init__(params, learning_rate)
        self.betas = betas
        self.epsilon = epsilon

    def update(self, p: Array, g: Array, **memory: Array) -> None:
        """One step for one array."""
        (beta1, beta2), m, s = self.betas, memory["mean"], memory["square"]
        m *= beta1
        m += (1 - beta1) * g
        s *= beta2
        s += (1 - beta2) * g**2
        mean, square = m / (1 - beta1**self.steps), s / (1 - beta2**self.steps)
        p -= self.learning_rate * mean / (np.sqrt(square) + self.epsilon)


def global_norm(gradients: Mapping[str, Array]) -> float:
    """Euclidean norm of all gradients taken as one vector, added up in float64."""
    return float(np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in gradients.values())))


def clip_by_norm(gradients: Mapping[str, Array], limit: float) -> float:
    """Scales all gradients, in place, so that their common norm is at most ``limit`` (Pascanu et al. 2013).

    The direction stays. Returns the norm before.

    Raises:
        TrainingError: the norm is not finite, so that there is no direction to keep.
    """
    norm = global_norm(gradients)
    if not np.isfinite(norm):
        bad = [name for name, g in gradients.items() if not np.isfinite(g).all()]
        raise TrainingError("the gradient is not finite", got=f"in {', '.join(bad)}", fix="use a smaller learning rate")
    if norm > limit:
        for g in gradients.values():
            g *= limit / norm
    return norm


def clip_by_value(gradients: Mapping[str, Array], limit: float) -> None:
    """Cuts every entry, in place, to [−``limit``, ``limit``]; the direction changes (Graves 2013, arXiv:1308.0850)."""
    for g in gradients.values():
        np.clip(g, -limit, limit, out=g)
