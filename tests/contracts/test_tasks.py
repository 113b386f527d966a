"""What every task owes to training, compare and the reports. A new task is tested by one more ``small``."""

import dataclasses
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import toys
from gatelab.core.config import ModelConfig, TrainingConfig, from_dict, to_dict
from gatelab.core.errors import GatelabError, InputError
from gatelab.core.random import generator
from gatelab.core.task import Evaluation, Task
from gatelab.nn.onnx import quantised, rounded
from gatelab.report import render
from gatelab.report.page import Page
from gatelab.tasks import TASKS
from gatelab.tasks.loading import load
from gatelab.training import fit
from gatelab.training.events import Stepped

BATCH = 8


@dataclass(frozen=True)
class Small:
    """A task on little data, and what to hand it."""

    open: Callable[[], Task]
    bad_source: Any
    """What ``open`` has to refuse."""
    new: Any
    """What ``predict`` takes."""
    bad_new: Any
    """What ``predict`` has to refuse."""
    more: Any
    """What ``reopen`` takes."""
    overfits_to: float = 0.1
    """Share of the first loss that is left when eight examples are learned by heart."""
    exports: bool = False
    """Whether its models are written as ONNX graphs."""


def small(name: str) -> Small:
    """The fixture of a task. One case for each name in ``TASKS``."""
    match name:
        case "adding":
            config, items = toys.AddingConfig(items=64), [np.ones((5, 2)), np.ones((7, 2))]
            return Small(lambda: toys.AddingTask.open(0, config), "words", items, [np.ones(5)], 1)
        case "echo":
            config = toys.EchoConfig(length=512)
            return Small(lambda: toys.EchoTask.open(0, config), "words", [0, 1, 1, 0, 1], [0, 2], 1)
        case "forecasting":
            return _small_forecasting()
        case "language":
            return _small_language()
        case "music":
            return _small_music()
        case "problem":
            return _small_problem()
        case "sequence-classification":
            return _small_sequence_classification()
        case "text-classification":
            return _small_text_classification()
    raise NotImplementedError(f"the task {name!r} is in TASKS: give it a small() in tests/contracts/test_tasks.py")


def _small_forecasting() -> Small:
    from gatelab.data.roles import Roles
    from gatelab.tasks.forecasting.config import ForecastingConfig
    from gatelab.tasks.forecasting.task import Forecasting

    rows = np.arange(24 * 12)
    load = 50 + 10 * np.sin(2 * np.pi * rows / 24) + generator(0, "load").normal(0, 1, len(rows))
    load[[30, 31, 100]] = np.nan
    table = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=len(rows), freq="h"), "load": load})
    config = ForecastingConfig(roles=Roles(target=("load",), time="time"), horizon=4, lookback=12)
    new = table.tail(48)
    return Small(lambda: Forecasting.open(table, config), table.head(5), new, table[["time"]], table, exports=True)


def _small_language() -> Small:
    from gatelab.tasks.language.config import LanguageConfig
    from gatelab.tasks.language.task import Language

    rng = generator(0, "language")
    verbs, nouns = ["sees", "hears", "finds", "likes"], ["cat", "dog", "bird", "fox"]
    lines = [f"the {nouns[a]} {verbs[b]} the {nouns[c]}." for a, b, c in rng.integers(0, 4, (150, 3)).tolist()]
    text, config = "\n".join(lines), LanguageConfig(documents="files", window=16)
    return Small(lambda: Language.open([text], config), [""], [text[:200]], [], [text], exports=True)


def _small_music() -> Small:
    from gatelab.tasks.music.config import MusicConfig
    from gatelab.tasks.music.task import Music

    rng = generator(0, "music")
    scale = [48, 50, 52, 53, 55, 57, 59, 60]
    pieces = [[[scale[at % 8], scale[(at + 2) % 8]] for at in range(start, start + length)]
              for start, length in rng.integers((0, 6), (8, 14), (24, 2)).tolist()]  # fmt: skip
    return Small(lambda: Music.open(pieces, MusicConfig()), [[[200]]], pieces[:2], [["C4"]], pieces)


def _small_problem() -> Small:
    from gatelab.tasks.problems.config import ProblemConfig
    from gatelab.tasks.problems.task import Problem

    config = ProblemConfig(length=10, shortest=6, examples=128, held_out=32)
    return Small(lambda: Problem.open("adding", config), "addng", [np.ones((5, 2))], [np.ones(5)], "adding")


def _small_text_classification() -> Small:
    from gatelab.tasks.text_classification.config import TextConfig
    from gatelab.tasks.text_classification.task import TextClassification

    rng = generator(0, "texts")
    said = {"good": ("fine", "lovely", "funny"), "bad": ("dull", "stale", "sad"), "mixed": ("long", "odd", "loud")}
    texts, labels = [], []
    for at in range(96):
        label = list(said)[at % 3]
        words = [*rng.choice(["the", "film", "is", "a", "and"], rng.integers(0, 7)), rng.choice(said[label])]
        texts.append(" ".join(rng.permutation(words)))
        labels.append(label)
    given, new = pd.DataFrame({"text": texts, "label": labels}), ["a fine film", "", "unheard of"]
    config = TextConfig(embedding=8, word_dropout=0.1, embedding_dropout=0.1)
    alone = given.assign(label="good")
    return Small(lambda: TextClassification.open(given, config), alone, new, [1, 2], given.head(30), exports=True)


def _small_sequence_classification() -> Small:
    from gatelab.data.sequences import Layout
    from gatelab.tasks.sequence_classification.config import SequenceConfig
    from gatelab.tasks.sequence_classification.task import SequenceClassification

    rng = generator(0, "sequences")
    X, y = [], []
    for at in range(72):
        clock = np.arange(rng.integers(5, 12))  # (T,)
        wave = np.sin(clock * (0.5 + at % 3)) + rng.normal(0, 0.1, len(clock))
        X.append(np.stack([wave, rng.normal(20, 5, len(clock))], axis=1))  # (T, 2)
        y.append(("slow", "fast", "faster")[at % 3])
    X[5][2, 1] = np.nan
    config = SequenceConfig(layout=Layout(gaps=True), join=2)
    new, channels = X[:4], [X[0][:, :1]]
    bad = (X, ["slow"] * len(X))
    return Small(
        lambda: SequenceClassification.open((X, y), config), bad, new, channels, (X[:30], y[:30]), exports=True
    )


# Every task is opened and trained once; the tests look at what came of it.


@pytest.fixture(scope="module", autouse=True)
def _toys_are_known():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TASKS, "_entries", dict(TASKS._entries))
        toys.register()
        yield


@pytest.fixture(scope="module", params=[*toys.TOYS, *TASKS])
def fixture(request) -> Small:
    return small(request.param)


@pytest.fixture(scope="module")
def task(fixture) -> Task:
    return fixture.open()


MODEL = ModelConfig("gru", hidden_size=8, dropout=0.2)


def settings(task: Task) -> TrainingConfig:
    return dataclasses.replace(
        task.training_defaults(), epochs=2, batch_size=BATCH, max_steps=30, checkpoint_seconds=0.0, max_seconds=None
    )


@pytest.fixture(scope="module")
def fitted(task, tmp_path_factory):
    return fit(task, MODEL, settings(task), seed=3, folder=tmp_path_factory.mktemp("contract") / "run")


@pytest.fixture(scope="module")
def evaluation(task, fitted) -> Evaluation:
    return task.evaluate(fitted.model, "test")


@pytest.fixture(scope="module")
def baselines(task) -> dict[str, Evaluation]:
    return {name: evaluate("test") for name, evaluate in task.baselines().items()}


def assert_same_weights(a, b):
    one, two = a.state_dict(), b.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def assert_same_batches(a, b):
    a, b = list(a), list(b)
    assert len(a) == len(b)
    for one, two in zip(a, b, strict=True):
        assert (one.size, one.steps, one.carries) == (two.size, two.steps, two.carries)
        torch.testing.assert_close(fields(one), fields(two), rtol=0, atol=0, equal_nan=True)


def fields(batch) -> dict[str, torch.Tensor]:
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}


# ---- data ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_count_counts_the_batches(task, part):
    batches = list(task.batches(part, BATCH))
    assert len(batches) == task.count(part, BATCH) > 0
    assert all(1 <= batch.size <= BATCH and batch.steps >= 1 for batch in batches)
    assert not batches[0].carries
    assert fields(batches[0])


def test_the_shares_of_a_batch_have_its_loss_between_them(task, fitted):
    batch = next(iter(task.batches("train", BATCH)))
    cuts = [slice(0, 3), slice(3, 4), slice(4, None)]
    shares = [batch.take(cut) for cut in cuts]
    assert sum(share.size for share in shares) == batch.size
    with torch.no_grad():
        whole, *losses = (task.loss(fitted.model, each) for each in (batch, *shares))
    assert sum(loss.weight for loss in losses) == pytest.approx(whole.weight)
    mean = sum(float(loss.mean) * loss.weight for loss in losses) / whole.weight
    assert mean == pytest.approx(float(whole.mean), rel=1e-5)


@pytest.mark.parametrize("shuffled", [True, False])
def test_start_leaves_the_first_batches_out(task, shuffled):
    count = task.count("train", BATCH)

    def batches(start=0):
        return task.batches("train", BATCH, generator(1, "order", 0) if shuffled else None, start=start)

    for start in {1, count // 2, count - 1, count}:
        assert_same_batches(batches(start), islice(batches(), start, None))


def test_order_follows_the_stream(task):
    a, b, *others = (list(task.batches("train", BATCH, generator(seed, "order"))) for seed in (1, 1, 2, 3, 4))
    assert_same_batches(a, b)
    with pytest.raises(AssertionError):
        [assert_same_batches(a, other) for other in others]


def test_bad_input_is_refused_with_what_to_do(fixture, task, fitted):
    for refused in (
        lambda: type(task).open(fixture.bad_source, task.config),
        lambda: task.predict(fitted.model, fixture.bad_new),
    ):
        with pytest.raises(GatelabError) as caught:
            refused()
        assert caught.value.fix


def test_settings_travel_as_plain_values(task):
    plain = json.loads(json.dumps(to_dict(task.config), allow_nan=False))
    assert from_dict(type(task).Config, plain) == task.config


def test_travels_to_another_process(task):
    copy = pickle.loads(pickle.dumps(task))
    assert_same_batches(copy.batches("train", BATCH), task.batches("train", BATCH))


# ---- training -----------------------------------------------------------------------------------------------------


def test_overfits_eight_examples(fixture, task):
    batch = next(iter(task.batches("train", 8)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = task.build(ModelConfig("gru", hidden_size=32))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(600):
        loss = task.loss(model, batch)
        losses.append(float(loss.mean.detach()))
        if losses[-1] < fixture.overfits_to * losses[0]:
            break
        optimizer.zero_grad()
        loss.mean.backward()
        optimizer.step()
    assert loss.weight > 0
    assert losses[-1] < fixture.overfits_to * losses[0]


def test_same_seed_same_result(task, fitted, evaluation, tmp_path):
    again = fit(task, MODEL, settings(task), seed=3, folder=tmp_path)
    assert_same_weights(again.model, fitted.model)
    assert task.evaluate(again.model, "test").metrics == evaluation.metrics


def test_resumes_exactly(task, fitted, tmp_path):
    class Cut(Exception):
        pass

    def cut(event):
        if isinstance(event, Stepped) and event.step == fitted.steps // 2:
            raise Cut

    with pytest.raises(Cut):
        fit(task, MODEL, settings(task), seed=3, folder=tmp_path, listeners=[cut])
    resumed = fit(task, MODEL, settings(task), seed=3, folder=tmp_path)
    assert_same_weights(resumed.model, fitted.model)
    assert [r["train_loss"] for r in resumed.history] == [r["train_loss"] for r in fitted.history]


# ---- results ------------------------------------------------------------------------------------------------------


def test_evaluates_every_metric_it_names(task, evaluation):
    assert {metric.name for metric in task.metrics} <= set(evaluation.metrics)
    assert all(isinstance(value, float) for value in evaluation.metrics.values())
    assert np.isfinite(evaluation.metrics[task.metrics[0].name])
    assert evaluation.items > 0
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in evaluation.arrays.values())


def test_baselines_are_scored_on_the_same_items(task, evaluation, baselines):
    assert baselines
    for scored in baselines.values():
        assert scored.items == evaluation.items
        assert task.metrics[0].name in scored.metrics


def test_report_renders(task, evaluation, baselines):
    results = {"gru": [evaluation, evaluation], **{name: [scored] for name, scored in baselines.items()}}
    sections = task.sections(results)
    page = render(Page(title="contract", verdict="It renders.", sections=sections))
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert all(section.title in page for section in sections)


def test_a_run_folder_gives_the_same_predictions(fixture, task, fitted):
    loaded = load(fitted.folder)
    ours, theirs = task.predict(fitted.model, fixture.new), loaded.task.predict(loaded.model, fixture.new)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    assert len(ours)


def test_state_is_plain_and_comes_back(task, fitted):
    state = json.loads(json.dumps(task.state(), allow_nan=False))
    assert json.loads(json.dumps(type(task).restore(task.config, state).state())) == state


def test_reopens_over_other_data_with_the_scales_of_the_first(fixture, fitted):
    restored = load(fitted.folder).task
    test = restored.reopen(fixture.more, "evaluate")
    scored = test.evaluate(fitted.model, "test")
    assert scored.items > 0
    assert np.isfinite(scored.metrics[test.metrics[0].name])
    update = restored.reopen(fixture.more, "update")
    assert update.count("train", BATCH) > 0
    assert update.count("validation", BATCH) > 0
    batch = next(iter(update.batches("train", BATCH)))
    assert np.isfinite(float(update.loss(fitted.model, batch).mean.detach()))


def test_exports_a_graph_that_computes_alike_or_says_that_it_cannot(fixture, task, fitted):
    if not fixture.exports:
        with pytest.raises(InputError, match=task.name) as caught:
            task.export(fitted.model)
        assert caught.value.fix
        return
    exported = task.export(fitted.model)
    assert exported.difference() <= exported.tolerance <= 1e-4
    small = quantised(task.export(rounded(fitted.model)))
    assert small.difference() <= small.tolerance <= 1e-4
    metadata = {entry.key: json.loads(entry.value) for entry in exported.model.metadata_props}
    assert metadata["task"] == task.name
    assert all(port["text"] and "batch" in port["shape"] for port in metadata["inputs"] + metadata["outputs"])


def test_a_picture_is_of_what_is_predicted_or_refused_in_words(task, fixture, fitted):
    if type(task).draw is Task.draw:
        with pytest.raises(InputError, match=rf"no picture of what models of the task {task.name} predict"):
            task.draw(fitted.model, fixture.new)
        return
    drawn = task.draw(fitted.model, fixture.new)
    pd.testing.assert_frame_equal(drawn.frame, task.predict(fitted.model, fixture.new))
    assert drawn.picture._repr_svg_().startswith("<svg")


def test_remarks_are_lines(task, evaluation):
    assert all(isinstance(line, str) and "\n" not in line for line in task.remarks(evaluation))
