import numpy as np
import pytest
import torch

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import DataError, InputError
from gatelab.core.random import generator
from gatelab.data.sequences import Layout
from gatelab.nn import trace
from gatelab.nn.pooling import Kind
from gatelab.report import render
from gatelab.report.page import Page
from gatelab.tasks.classifying.batches import ClassBatch
from gatelab.tasks.sequence_classification.config import SequenceConfig
from gatelab.tasks.sequence_classification.figures import because
from gatelab.tasks.sequence_classification.task import SequenceClassification
from gatelab.training import fit

POOLINGS = Kind.__args__


def bumps(count=72, longest=12):
    """Whether channel 1 has its bump early or late."""
    rng = generator(0, "bumps")
    X, y = [], []
    for at in range(count):
        rows = rng.normal(0, 0.2, (int(rng.integers(6, longest + 1)), 2))
        rows[(1, -2)[at % 2], 0] += 3
        X.append(rows)
        y.append(("early", "late")[at % 2])
    return X, y


def opened(data=None, **settings):
    return SequenceClassification.open(data or bumps(), SequenceConfig(**settings))


@pytest.fixture(scope="module")
def task():
    return opened(split=(0.6, 0.2, 0.2), pooling="last")


@pytest.fixture(scope="module")
def fitted(task, tmp_path_factory):
    training = TrainingConfig(epochs=15, batch_size=8, learning_rate=2e-2)
    model = ModelConfig("gru", hidden_size=8, bidirectional=True)
    return fit(task, model, training, folder=tmp_path_factory.mktemp("bumps") / "run")


def test_learns_and_says_which_step_it_was(task, fitted):
    assert task.evaluate(fitted.model, "test").metrics["accuracy"] > 0.9
    X, y = bumps(20)
    said = [task.labels.names.index(label) for label in y]
    found = task.contributions_of(fitted.model, task.read((X, y), task.config).items, np.array(said))
    places = np.array([int(np.abs(values[:, 0]).argmax()) for values in found])
    wanted = np.array([1 if label == "early" else len(rows) - 2 for rows, label in zip(X, y, strict=True)])
    assert (places == wanted).mean() > 0.7


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_padding_is_inert(cell, pooling, bidirectional):
    """What lies under the mask changes no output and no gradient."""
    task = opened(pooling=pooling, noise=0.0)
    torch.manual_seed(0)
    model = task.build(ModelConfig(cell, hidden_size=5, num_layers=2, bidirectional=bidirectional))
    x = torch.randn(9, 4, 2)
    lengths, y = torch.tensor([9, 1, 4, 6]), torch.tensor([0, 1, 1, 0])
    results = []
    for filling in (0.0, 1e6):
        there = torch.arange(9).unsqueeze(1) < lengths  # (T, B)
        batch = ClassBatch(torch.where(there.unsqueeze(2), x, torch.tensor(filling)), lengths, y)
        model.zero_grad()
        loss = task.loss(model, batch)
        loss.mean.backward()
        results.append([model(batch).detach(), *(parameter.grad.clone() for parameter in model.parameters())])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_gates_of_every_step_can_be_read(task, fitted):
    batch = next(iter(task.batches("test", 4)))
    with trace(fitted.model) as record:
        task.loss(fitted.model, batch).mean.backward()
    assert record["encoder"]["l0"]["z"].shape == (batch.steps, 4, 8)
    assert record["encoder"]["l0_reverse"]["dh"].shape == (batch.steps, 4, 8)


def test_predicts_with_reasons(task, fitted):
    X, y = bumps(6)
    found = task.predict(fitted.model, (X, y))
    assert found["truth"].tolist() == y
    assert found["sequence"].tolist() == list("123456")
    np.testing.assert_allclose(found[["p(early)", "p(late)"]].sum(axis=1), 1)
    assert (found["because of"].str.match(r"step \d+ \([+-]\d+\.\d\d\)")).all()
    assert "p(early)" not in found.attrs["brief"]
    without = task.predict(fitted.model, X)
    assert "truth" not in without
    np.testing.assert_array_equal(without["probability"], found["probability"])
    with pytest.raises(InputError, match="ahead"):
        task.predict(fitted.model, X, future="next.csv")


def test_the_report_shows_which_steps_mattered(task, fitted):
    evaluation = task.evaluate(fitted.model, "test")
    results = {"gru": [evaluation], **{name: [score("test")] for name, score in task.baselines().items()}}
    sections = task.sections(results)
    assert "Which steps mattered" in [section.title for section in sections]
    assert "early" in render(Page(title="t", verdict="v", sections=sections))
    assert task.sections({name: found for name, found in results.items() if name != "gru"})


def test_reasons_name_the_steps_that_were_joined():
    assert because(np.array([0.2, -0.5]), 5, 8) == "steps 6–8 (-0.50), steps 1–5 (+0.20)"
    assert because(np.zeros(3), 1) == ""


def test_one_step_and_a_million(tmp_path):
    rng = generator(0, "lengths")
    X, y = [rng.normal(size=(1, 1)) for _ in range(30)], ["short", "brief"] * 15
    X[4] = rng.normal(size=(1_000_000, 1))
    task = opened((X, y), split=(0.8, 0.1, 0.1), join=16)
    model = task.build(ModelConfig("gru", hidden_size=4))
    batch = ClassBatch.of(task.encode(task.read((X, y), task.config).items), np.zeros(30, np.int64), np.arange(30))
    assert batch.steps == 62_500
    task.loss(model, batch).mean.backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in model.parameters())
    found = task.predict(model, X[:6])
    assert np.isfinite(found["probability"]).all()
    assert found["because of"].tolist()[4:] == ["", ""]
    assert "first 4 sequences" in found.attrs["notes"][-1]
    for score in task.baselines().values():
        assert score("test").items == len(task.parts["test"])


def test_labels_unseen_in_training_and_one_class_are_refused(task):
    X, _ = bumps(6)
    with pytest.raises(DataError, match="sequence 3 of the data has a label that was not there in training") as caught:
        task.reopen((X, ["early", "late", "noon", "late", "early", "late"]), "evaluate")
    assert "'noon'" in str(caught.value)
    with pytest.raises(DataError, match="one class"):
        opened((X, ["early"] * 6))


def test_a_gap_where_training_had_none_is_the_mean(task, fitted):
    gaps = opened((bumps()[0], bumps()[1]), layout=Layout(gaps=True), join=1)
    model = gaps.build(ModelConfig("gru", hidden_size=4))
    X, _ = bumps(2)
    X[0][3, 1] = np.nan
    filled = [rows.copy() for rows in X]
    filled[0][3, 1] = gaps.scaling.mean[1]
    ours, theirs = gaps.predict(model, X), gaps.predict(model, filled)
    np.testing.assert_allclose(ours["probability"], theirs["probability"], rtol=1e-6)


@pytest.mark.parametrize(("name", "wrong"), [("join", 0), ("noise", -0.1), ("split", (1.0, 0.0, 0.0))])
def test_settings_that_cannot_be_are_refused(name, wrong):
    with pytest.raises(InputError, match=name):
        SequenceConfig(**{name: wrong})


@pytest.mark.parametrize("pooling", POOLINGS)
def test_exports_whatever_the_scaling(pooling):
    X, y = bumps(30)
    X[2][1, 1] = np.nan
    for settings in ({"scale": "sequence"}, {"join": 3}, {"join": 1}):
        task = opened((X, y), pooling=pooling, layout=Layout(gaps=True), **settings)
        exported = task.export(task.build(ModelConfig("lstm", hidden_size=3, bidirectional=True)))
        assert exported.difference() <= exported.tolerance


@pytest.mark.parametrize("scale", ["channel", "sequence"])
def test_a_channel_that_stands_still_in_training_changes_no_answer_later(scale):
    X, y = bumps()
    wide = [np.concatenate([rows, np.full((len(rows), 1), 3.0)], axis=1) for rows in X]
    task = opened((wide, y), scale=scale)
    assert any("read as 0" in note and "channel 3" in note for note in task.notes)
    torch.manual_seed(0)
    model = task.build(ModelConfig("gru", hidden_size=4)).eval()
    strange = [rows * [1, 1, 1e4] + [0, 0, at] for at, rows in enumerate(wide)]
    np.testing.assert_array_equal(
        task.predict(model, strange).filter(like="p("), task.predict(model, wide).filter(like="p(")
    )
    notes = task.predict(model, strange).attrs["notes"]
    assert any("channel 3 (" in note for note in notes) == (scale == "channel"), "each value that is not read as it is"
    again = SequenceClassification.restore(task.config, task.state()).reopen((strange, y), "update")
    assert any("read as 0" in note for note in again.notes)
    exported = task.export(model)
    assert exported.difference() <= exported.tolerance
