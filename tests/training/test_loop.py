"""The loop against a plain loop written out, and each of its promises."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import toys
from gatelab.core.config import ModelConfig
from gatelab.core.errors import DataError, InputError, NoSpaceError, TrainingError
from gatelab.core.random import generator, integer_seed
from gatelab.core.task import Metric
from gatelab.training import fit
from gatelab.training.events import Checkpointed, EpochEnded, Failed, Finished, Started, Stepped

MODEL = ModelConfig("lstm", hidden_size=6, dropout=0.2)


@pytest.fixture
def adding():
    return toys.AddingTask.open(0, toys.AddingConfig(items=96))


@pytest.fixture
def echo():
    return toys.EchoTask.open(0, toys.EchoConfig(length=1024))


def run(task, folder, model=MODEL, **training):
    listeners = training.pop("listeners", ())
    more = {name: training.pop(name) for name in ("seed", "initial") if name in training}
    settings = replace(task.training_defaults(), **training)
    return fit(task, model, settings, folder=folder, listeners=listeners, **more)


# ---- the whole of it, written out ---------------------------------------------------------------------------------


@pytest.mark.parametrize("toy", ["adding", "echo"])
def test_equals_a_plain_loop(toy, adding, echo, tmp_path):
    """Truncated backpropagation with carried state, clipping, AdamW, cosine: the same weights, bit for bit."""
    task = {"adding": adding, "echo": echo}[toy]
    training = {"epochs": 3, "optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 0.3, "patience": None}
    fitted = run(task, tmp_path, seed=5, **training)
    settings = replace(task.training_defaults(), **training)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(integer_seed(5, "init"))
        model = task.build(MODEL)
        optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.1)
        count = task.count("train", settings.batch_size)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: (1 + math.cos(math.pi * step / (3 * count))) / 2
        )
        step, norms, best, best_weights = 0, [], -math.inf, None
        for epoch in range(3):
            state = None
            for batch in task.batches("train", settings.batch_size, generator(5, "order", epoch)):
                torch.manual_seed(integer_seed(5, "step", step))
                if state is not None and batch.carries:
                    state = tuple(part.detach() for part in state)
                loss = task.loss(model, batch, state if batch.carries else None)
                state = loss.state
                optimizer.zero_grad()
                loss.mean.backward()
                norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.3)))
                optimizer.step()
                scheduler.step()
                step += 1
            model.eval()
            score = _criterion(task, model, settings.batch_size)
            if score > best:
                best, best_weights = score, {name: value.clone() for name, value in model.state_dict().items()}
            model.train()

    weights = fitted.model.state_dict()
    assert all(torch.equal(weights[name], best_weights[name]) for name in weights)
    last = norms[-count:]
    assert fitted.history[-1]["gradient_norm"] == pytest.approx(np.mean(last))
    assert fitted.history[-1]["gradient_norm_p95"] == pytest.approx(np.percentile(last, 95))
    assert fitted.history[-1]["gradient_norm_max"] == max(last)
    assert fitted.history[-1]["clipped"] == pytest.approx(np.mean(np.array(last) > 0.3))


def _criterion(task, model, batch_size):
    """More is better."""
    if task.name == "echo":
        return task.validate(model)["accuracy"]
    with torch.no_grad():
        losses = [task.loss(model, batch) for batch in task.batches("validation", batch_size)]
    return -sum(float(loss.mean) * loss.weight for loss in losses) / sum(loss.weight for loss in losses)


def test_the_echo_needs_its_carried_state(echo, tmp_path):
    class Forgetful(toys.EchoTask):
        def loss(self, model, batch, state=None):
            return super().loss(model, batch, None)

    forgetful = Forgetful.open(0, echo.config)
    settings = {"epochs": 12, "model": ModelConfig("gru", hidden_size=12), "patience": None, "schedule": "constant"}
    carried = run(echo, tmp_path / "carried", **settings)
    dropped = run(forgetful, tmp_path / "dropped", **settings)
    # Three of eight steps are asked for what was heard in the window before: a guess costs ln 2 each.
    guess = 3 / 8 * math.log(2)
    assert dropped.history[-1]["train_loss"] > 0.95 * guess
    assert carried.history[-1]["train_loss"] < 0.5 * guess


# ---- randomness ---------------------------------------------------------------------------------------------------


def test_same_seed_same_bits_other_seed_other_bits(adding, tmp_path):
    a, b, c = (run(adding, tmp_path / name, epochs=2, seed=seed) for name, seed in [("a", 0), ("b", 0), ("c", 1)])
    assert all(torch.equal(x, y) for x, y in zip(a.model.parameters(), b.model.parameters(), strict=True))
    assert not any(torch.equal(x, y) for x, y in zip(a.model.parameters(), c.model.parameters(), strict=True))


def test_listeners_and_estimates_change_nothing(echo, tmp_path):
    a = run(echo, tmp_path / "a", epochs=2)
    b = run(echo, tmp_path / "b", epochs=2, listeners=[lambda event: None])
    assert all(torch.equal(x, y) for x, y in zip(a.model.parameters(), b.model.parameters(), strict=True))


def test_global_state_is_left_alone(adding, tmp_path):
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), torch.get_num_threads()
    run(adding, tmp_path, epochs=1, threads=2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), torch.get_num_threads()) == before[1:]


# ---- budgets ------------------------------------------------------------------------------------------------------


def test_stops_after_steps_in_the_middle_of_an_epoch(adding, tmp_path):
    fitted = run(adding, tmp_path, epochs=9, max_steps=4)  # 3 batches an epoch
    assert (fitted.stopped, fitted.steps, len(fitted.history)) == ("steps", 4, 2)
    assert [record["step"] for record in fitted.history] == [3, 4]


def test_stops_after_seconds(adding, tmp_path):
    fitted = run(adding, tmp_path, epochs=10_000, max_seconds=0.3, patience=None, schedule="constant")
    assert fitted.stopped == "time"
    assert 0.3 <= fitted.seconds < 10


def test_seconds_are_counted_over_resumptions(echo, tmp_path):
    class Cut(Exception):
        pass

    def cut(event):
        if isinstance(event, Checkpointed) and event.step == 5:
            raise Cut

    settings = {"epochs": 10_000, "max_seconds": 0.5, "patience": None, "checkpoint_seconds": 0.0}
    with pytest.raises(Cut):
        run(echo, tmp_path, listeners=[cut], **settings)
    seen = []
    fitted = run(echo, tmp_path, listeners=[seen.append], **settings)
    assert fitted.stopped == "time"
    assert fitted.seconds < 5
    assert seen[0].estimate_seconds < 0.5


def test_a_tiny_budget_still_takes_a_step_an_epoch(adding, tmp_path):
    assert run(adding, tmp_path, max_seconds=1e-9).steps == 1


def test_a_masked_first_batch_does_not_use_the_budget_up(adding, tmp_path):
    task = Holes.open(0, adding.config)
    order = generator(0, "order", 0).permutation(96)
    task.hide("train", torch.from_numpy(order[:32].copy()))
    assert run(task, tmp_path, max_seconds=1e-9).steps == 1


def test_patience_counts_from_the_best_epoch(adding, tmp_path):
    fitted = run(adding, tmp_path, learning_rate=1e-12, schedule="constant", epochs=50, patience=3, model=MODEL)
    assert fitted.stopped in ("patience", "epochs")
    ended = len(fitted.history)
    assert ended == min(fitted.best_epoch + 3, 50)
    values = [record["validation_loss"] for record in fitted.history]
    assert fitted.best == min(values) == values[fitted.best_epoch - 1]


def test_a_criterion_to_be_maximised(echo, tmp_path):
    fitted = run(echo, tmp_path, epochs=4, patience=None)
    values = [record["accuracy"] for record in fitted.history]
    assert fitted.best == max(values) == values[fitted.best_epoch - 1]
    assert echo.validate(fitted.model)["accuracy"] == fitted.best


# ---- masked ---------------------------------------------------------------------------------------------------------


class Holes(toys.AddingTask):
    """Whole batches, or whole parts, without an answer."""

    def hide(self, part, items):
        self.parts[part].y[items] = math.nan
        return self


def test_a_masked_batch_is_no_step(adding, tmp_path):
    task = Holes.open(0, adding.config)
    order = generator(0, "order", 0).permutation(96)
    task.hide("train", torch.from_numpy(order[32:64].copy()))  # the second batch of the first epoch
    steps = []
    fitted = run(task, tmp_path, epochs=1, listeners=[steps.append])
    assert fitted.steps == 2
    assert [event.batch for event in steps if isinstance(event, Stepped)] == [1, 3]


def test_without_validation_the_last_weights_are_kept_and_patience_does_not_count(adding, tmp_path):
    task = Holes.open(0, adding.config).hide("validation", slice(None))
    fitted = run(task, tmp_path, epochs=5, patience=1)
    assert (fitted.stopped, fitted.best, fitted.best_epoch) == ("epochs", None, 5)
    assert all(record["validation_loss"] is None for record in fitted.history)


def test_nothing_to_learn_from_is_said(adding, tmp_path):
    with pytest.raises(TrainingError, match="every target of the training part is masked"):
        run(Holes.open(0, adding.config).hide("train", slice(None)), tmp_path)


def test_validate_that_is_not_a_number_does_not_count_as_best(echo, tmp_path):
    class Moody(toys.EchoTask):
        criterion = Metric("F1", "max")

        def validate(self, model):
            self.calls = getattr(self, "calls", 0) + 1
            return {"F1": [math.nan, 0.5, math.nan, 0.4][self.calls - 1]}

    fitted = run(Moody.open(0, echo.config), tmp_path, epochs=4)
    assert (fitted.best, fitted.best_epoch) == (0.5, 2)
    assert [record["F1"] for record in fitted.history] == [None, 0.5, None, 0.4]


def test_no_batch_at_all(adding, tmp_path):
    task = toys.EchoTask.open(0, toys.EchoConfig(length=64))
    with pytest.raises(DataError, match="not one batch"):
        run(task, tmp_path)


# ---- options ------------------------------------------------------------------------------------------------------


def test_initial_weights(adding, tmp_path):
    first = run(adding, tmp_path / "first", epochs=1)
    # At a rate of next to nothing the weights stay as they were given.
    again = run(adding, tmp_path / "again", epochs=1, learning_rate=1e-30, initial=first.model.state_dict(), seed=9)
    assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), again.model.parameters(), strict=True))


def test_initial_weights_that_do_not_fit(adding, tmp_path):
    other = adding.build(ModelConfig("lstm", hidden_size=7))
    with pytest.raises(InputError, match="do not fit"):
        run(adding, tmp_path, initial=other.state_dict())


def test_float64(adding, tmp_path):
    fitted = run(adding, tmp_path, epochs=1, precision="float64")
    assert {parameter.dtype for parameter in fitted.model.parameters()} == {torch.float64}
    assert adding.evaluate(fitted.model, "test").metrics["MSE"] > 0


@pytest.mark.parametrize(("option", "value"), [("device", "cuda:99"), ("device", "tpu"), ("precision", "mixed")])
def test_what_this_machine_has_not(option, value, adding, tmp_path):
    with pytest.raises(InputError, match=r"fix: .*--(device|precision)"):
        run(adding, tmp_path / "run", **{option: value})
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_absent(adding, tmp_path):
    with pytest.raises(InputError, match="--device cpu"):
        run(adding, tmp_path, device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "mixed", "float64"])
@pytest.mark.parametrize("toy", ["adding", "echo"])
def test_cuda(toy, precision, adding, echo, tmp_path):
    task = {"adding": adding, "echo": echo}[toy]
    states = torch.get_rng_state(), torch.cuda.get_rng_state()
    fitted = run(task, tmp_path, epochs=2, device="cuda", precision=precision)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(torch.cuda.get_rng_state(), states[1])
    assert next(fitted.model.parameters()).is_cuda
    assert math.isfinite(next(iter(task.evaluate(fitted.model, "test").metrics.values())))


def test_too_little_space(adding, tmp_path, monkeypatch):
    monkeypatch.setattr("gatelab.training.fitting.free_bytes", lambda _: 1000)
    with pytest.raises(NoSpaceError, match="too little space"):
        run(adding, tmp_path)


# ---- events -------------------------------------------------------------------------------------------------------


def test_events_in_order(echo, tmp_path):
    events = []
    fitted = run(echo, tmp_path, epochs=2, listeners=[events.append])
    started = events[0]
    assert isinstance(started, Started)
    assert started.parameters == sum(parameter.numel() for parameter in fitted.model.parameters())
    assert started.estimate_seconds == pytest.approx(2 * started.epoch_seconds)
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [event.step for event in steps] == list(range(1, fitted.steps + 1))
    ended = [event for event in events if isinstance(event, EpochEnded)]
    assert [event.record for event in ended] == fitted.history
    assert [list(event.history) for event in ended] == [fitted.history[:1], fitted.history]
    assert events[-1] == Finished(fitted.stopped, fitted.best_epoch, fitted.best, fitted.seconds, fitted.steps)


def test_a_listener_that_raises_ends_the_run(echo, tmp_path):
    events = []

    def prune(event):
        events.append(event)
        if isinstance(event, EpochEnded):
            raise LookupError("pruned")

    with pytest.raises(LookupError):
        run(echo, tmp_path, listeners=[prune])
    assert isinstance(events[-1], Failed)
