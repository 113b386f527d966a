"""Language as a task: what its scores are, what is shown, and that it is exported, whatever its end."""

import json

import numpy as np
import pytest
import torch

from gatelab.core.config import ModelConfig, TrainingConfig
from gatelab.core.errors import DataError, InputError
from gatelab.core.random import generator
from gatelab.data.tokens import END, UNKNOWN
from gatelab.nn.onnx import quantised, rounded
from gatelab.report import render
from gatelab.report.page import Page
from gatelab.tasks.language.config import LanguageConfig
from gatelab.tasks.language.task import Language
from gatelab.training.learner import Learner

VERBS, NOUNS = ["sees", "hears", "finds", "likes"], ["cat", "dog", "bird", "fox"]


def text(sentences: int = 120) -> str:
    rng = generator(0, "language")
    rows = rng.integers(0, 4, (sentences, 3)).tolist()
    return "\n".join(f"the {NOUNS[a]} {VERBS[b]} the {NOUNS[c]}." for a, b, c in rows)


def opened(**options) -> Language:
    return Language.open([text()], LanguageConfig(**{"documents": "files", "split": (0.6, 0.2, 0.2), **options}))


def network(task: Language, **model):
    torch.manual_seed(0)
    return task.build(ModelConfig(**{"cell": "gru", "hidden_size": 12, **model}))


@pytest.mark.parametrize("tokens", ["characters", "words", "subwords"])
@pytest.mark.parametrize("documents", ["files", "lines"])
def test_scores_are_those_of_every_token_with_ends(tokens, documents):
    task = opened(tokens=tokens, documents=documents, vocabulary=60)
    held = task.parts["test"]
    for found in (task.evaluate(network(task), "test"), task.baselines()["5-gram"]("test")):
        losses = found.arrays["error_by_item"]
        assert len(losses) == found.items == len(held.values)
        assert found.metrics["NLL"] == pytest.approx(losses.mean())
        assert found.metrics["perplexity"] == pytest.approx(np.exp(losses.mean()))
        assert found.arrays["nats_by_token"].sum() == pytest.approx(losses.sum())
        assert found.arrays["nats_by_token"][END] == pytest.approx(losses[held.values == END].sum())
        assert ("BPC" in found.metrics) == (tokens != "words")
    if tokens == "characters":
        ends = 0 if documents == "lines" else 1
        assert held.characters == len(held.values) - held.documents
        assert held.documents == ends or documents == "lines"
        assert found.metrics["BPC"] == pytest.approx(losses.sum() / np.log(2) / held.characters)


def test_every_token_of_lines_counts_the_same_in_an_epoch_however_long_its_line():
    rng = generator(0, "uneven")
    names = ["".join(rng.choice(list("abc"), length)) for length in rng.integers(1, 15, 300)]
    task = Language.open([name + "\n" for name in names], LanguageConfig(documents="lines", split=(0.8, 0.1, 0.1)))
    net = network(task).train()
    learner = Learner(task, net, TrainingConfig(epochs=1), torch.device("cpu"))
    summed = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    batches = list(task.batches("train", 10, generator(0, "order")))
    assert max(batch.scale for batch in batches) > 2 * min(batch.scale for batch in batches)
    for batch in batches:
        learner.backward(learner.forward(batch, None))
        for name, p in net.named_parameters():
            summed[name] += p.grad / len(batches)
    (whole,) = task.batches("train", 10_000)
    learner.backward(learner.forward(whole, None))
    assert whole.scale == 1
    for name, p in net.named_parameters():
        torch.testing.assert_close(summed[name], p.grad, rtol=1e-4, atol=1e-6)


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    task = opened()
    found = task.baselines()["chance"]("test").metrics
    assert found["perplexity"] == pytest.approx(len(task.tokenizer))
    assert task.baselines()["5-gram"]("test").metrics["NLL"] < task.baselines()["frequencies"]("test").metrics["NLL"]


def test_unknown_tokens_are_scored_as_one():
    task = opened(tokens="words")
    other = task.reopen(["the yak sees the gnu."], "evaluate")
    assert np.count_nonzero(other.parts["test"].values == UNKNOWN) == 2
    assert other.evaluate(network(task), "test").arrays["times_by_token"][UNKNOWN] == 2


def test_evaluation_leaves_the_model_as_it_was():
    task = opened()
    net = network(task, dropout=0.5).train()
    one, two = (task.evaluate(net, "test").metrics for _ in range(2))
    assert one == two
    assert net.training


def test_predict_tells_of_each_line_by_itself_or_in_its_text():
    stream, lines = opened(), opened(documents="lines")
    net = network(stream)
    given = "the cat sees the dog.\n\nthe cat sees the dog.\n"
    for task in (stream, lines):
        task.tokenizer = stream.tokenizer
    carried, alone = stream.predict(net, [given]), lines.predict(net, [given])
    assert carried["line"].tolist() == [1, 2, 3]
    assert alone["line"].tolist() == [1, 3]
    assert alone["NLL"][0] == alone["NLL"][1]
    assert carried["NLL"][0] != carried["NLL"][2]
    assert carried["tokens"].tolist() == [22, 1, 23]  # line ends in it, and after the last one the end
    assert alone["tokens"].tolist() == [22, 22]
    assert alone["text"].tolist() == ["the cat sees the dog."] * 2
    whole = stream.reopen([given], "evaluate").evaluate(net, "test")
    assert (carried["NLL"] * carried["tokens"]).sum() == pytest.approx(whole.arrays["error_by_item"].sum(), rel=1e-5)


@pytest.mark.parametrize("source", [[""], ["\n"], []])
def test_predict_refuses_what_holds_no_text(source):
    task = opened(documents="lines")
    with pytest.raises((DataError, InputError), match="no text"):
        task.predict(network(task), source)
    with pytest.raises(InputError, match="ahead"):
        task.predict(network(task), ["a"], future="b")


@pytest.mark.parametrize("documents", ["files", "lines"])
def test_a_report_shows_what_is_written_and_what_is_hard(documents):
    task = opened(documents=documents)
    results = {"gru": [task.evaluate(network(task), "test")]}
    results |= {name: [evaluate("test")] for name, evaluate in task.baselines().items()}
    sections = task.sections(results)
    assert [section.title for section in sections] == ["What it writes", "What is hard"]
    assert "What is hard" in render(Page(title="t", verdict="v", sections=sections))


@pytest.mark.parametrize(
    ("config", "model"),
    [
        ({}, {"cell": "lstm", "num_layers": 2, "dropout": 0.3, "weight_drop": 0.2}),
        ({"tied": True, "embedding_size": 7}, {"cell": "rnn"}),
        ({"adaptive": True, "tokens": "words"}, {"cell": "gru", "learn_initial_state": True}),
        ({"tokens": "subwords", "vocabulary": 60}, {"cell": "lstm", "layer_norm": True, "zoneout": 0.1}),
        ({}, {"cell": "lstm", "num_layers": 3, "residual": True, "learn_initial_state": True}),
        ({"embedding_size": 12}, {"cell": "gru", "num_layers": 2, "residual": True}),
    ],
)
def test_every_end_is_exported(config, model):
    pytest.importorskip("onnxruntime")
    task = opened(**config)
    net = network(task, **model)
    exported, small = task.export(net), quantised(task.export(rounded(net)))
    assert exported.difference() <= exported.tolerance
    assert small.difference() <= small.tolerance
    assert len(small.content) < len(exported.content)
    metadata = {entry.key: json.loads(entry.value) for entry in exported.model.metadata_props}
    assert type(task.tokenizer).from_state(metadata["tokenizer"]) == task.tokenizer
    assert ("initial_h" in metadata) == bool(model.get("learn_initial_state"))


def test_data_are_told_apart():
    one, two, same = opened(), opened(tokens="words"), opened()
    assert one.fingerprint() == same.fingerprint() != two.fingerprint()
