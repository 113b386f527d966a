"""The forecasting network: a recurrent encoder and a head that gives every step of the horizon at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatelab.core.config import ModelConfig
from gatelab.nn import compact, final_state, recurrent
from gatelab.tasks.forecasting.windows import WindowBatch

_CONTEXT, _LOCAL = 8, 32  # widths of the per-step context and of the layer that joins it with what is known ahead


class Forecast(NamedTuple):
    """Forecasts in scaled units, for K steps of B windows of O targets at Q quantile levels."""

    quantiles: Tensor  # (K, B, O, Q)
    mean: Tensor | None  # (K, B, O), only where the point forecast is the mean


class ForecastNet(nn.Module):
    """Encoder → final state → all K steps of the horizon (direct multi-step), as quantiles and perhaps a mean.

    The head is linear in the final state; what is known ahead (calendar, future covariates) joins through a small
    network shared by all steps (MQ-RNN's global and local parts, Wen et al. 2017, sec. 3.2). The optional highway is
    one more linear path straight from the window (LSTNet, Lai et al. 2018, sec. 3.6).
    """

    def __init__(
        self,
        model: ModelConfig,
        *,
        input_size: int,
        targets: int,
        ahead: int,
        lookback: int,
        horizon: int,
        quantiles: int,
        mean: bool,
        highway: bool,
    ):
        super().__init__()
        self.horizon, self.targets, self.quantiles, self.has_mean = horizon, targets, quantiles, mean
        outputs = quantiles + int(mean)
        self.encoder, self.bidirectional = recurrent(model, input_size), model.bidirectional
        width = model.hidden_size * (2 if model.bidirectional else 1)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(width, horizon * targets * outputs)
        if ahead:
            self.context = nn.Linear(width, horizon * _CONTEXT)
            self.local = nn.Sequential(
                nn.Linear(_CONTEXT + ahead, _LOCAL), nn.ReLU(), nn.Linear(_LOCAL, targets * outputs)
            )
        if highway:
            self.highway = nn.Linear(lookback * targets, horizon * targets)
            # Starting at "the same again": with the window's own level taken out, zero is the naive forecast.
            nn.init.zeros_(self.highway.weight)
            nn.init.zeros_(self.highway.bias)

    def forward(self, batch: WindowBatch) -> Forecast:
        """Forecasts of a batch, in scaled units."""
        size, targets = batch.size, self.targets
        state = self.dropout(self.encode(batch))  # (B, D·H)
        out = self.head(state).view(size, self.horizon, targets, -1)  # (B, K, O, Q[+1])
        if hasattr(self, "local"):
            context = self.context(state).view(size, self.horizon, _CONTEXT)  # (B, K, context)
            joined = torch.cat([context, batch.ahead.transpose(0, 1)], dim=2)  # (B, K, context + F)
            out = out + self.local(joined).view(out.shape)  # (B, K, O, Q[+1])
        if hasattr(self, "highway"):
            window = batch.recent.permute(1, 0, 2).reshape(size, -1)  # (B, L·O)
            out = out + self.highway(window).view(size, self.horizon, targets, 1)  # (B, K, O, Q[+1])
        out = out * batch.deviation[:, None, :, None] + batch.centre[:, None, :, None]
        out = out.transpose(0, 1)  # (K, B, O, Q[+1])
        return Forecast(out[..., : self.quantiles], out[..., -1] if self.has_mean else None)

    def encode(self, batch: WindowBatch) -> Tensor:
        """The encoder's state after the last observed step: ``(B, D·H)``; steps without data hold the state."""
        if self.bidirectional:
            return self._encode_both_ways(batch)
        if batch.shown is None:
            return self.encoder(batch.inputs)[0][-1]  # (B, H)
        inputs, lengths = compact(batch.inputs, batch.shown)  # (L, B, I), (B,)
        return final_state(self.encoder(inputs)[0], lengths)

    def _encode_both_ways(self, batch: WindowBatch) -> Tensor:
        """What is given forward after the last observed step, and backward after the first: ``(B, 2·H)``."""
        shown = batch.inputs.new_ones(batch.inputs.shape[:2], dtype=torch.bool) if batch.shown is None else batch.shown
        inputs, lengths = compact(batch.inputs, shown)  # (L, B, I), (B,)
        packed = pack_padded_sequence(inputs, lengths.cpu(), enforce_sorted=False)
        forward, backward = pad_packed_sequence(self.encoder(packed)[0])[0].chunk(2, dim=2)  # (L, B, H) each
        return torch.cat([final_state(forward, lengths), backward[0]], dim=1)


def pinball(forecast: Tensor, truth: Tensor, levels: Tensor) -> Tensor:
    """Quantile loss (Koenker & Bassett 1978) of ``forecast (…, Q)`` against ``truth (…)``: ``(…, Q)``."""
    error = truth.unsqueeze(-1) - forecast
    return torch.maximum(levels * error, (levels - 1) * error)


def forecast_loss(forecast: Forecast, batch: WindowBatch, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean loss over the observed targets of the horizon, and how many there are.

    Twice the mean pinball loss, which approximates the CRPS (Gneiting & Ranjan 2011, eq. 7); where the mean is
    asked for, plus the squared error.
    """
    loss = 2 * pinball(forecast.quantiles, batch.truth, levels).mean(dim=-1)  # (K, B, O)
    if forecast.mean is not None:
        loss = loss + (forecast.mean - batch.truth) ** 2  # (K, B, O)
    weight = batch.seen.sum()
    return (loss * batch.seen).sum() / weight.clamp(min=1), weight
