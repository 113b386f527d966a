"""``gatelab.LanguageModel``: learned, scored, written with, and opened again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import gatelab
from gatelab.core.errors import InputError, RunError
from gatelab.core.random import generator
from gatelab.tasks.language.estimator import LanguageModel


def names(count: int = 200) -> str:
    rng = generator(0, "names")
    return "\n".join("".join(rng.choice(["an", "bo", "da", "mi"], rng.integers(1, 4))) for _ in range(count))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> LanguageModel:
    model = LanguageModel(hidden_size=16, epochs=8, learning_rate=0.02, folder=tmp_path_factory.mktemp("run"))
    return model.fit([names()])


def test_it_is_the_one_of_the_package_and_its_parameters_are_settings():
    assert gatelab.LanguageModel is LanguageModel
    model = LanguageModel("words", cell="lstm", window=7)
    assert clone(model).get_params() == model.get_params()
    with pytest.raises(InputError, match="tokens"):
        LanguageModel("letters").fit(["some text"])
    with pytest.raises(NotFittedError):
        model.generate()


def test_it_learns_and_scores(fitted):
    assert len(fitted.history_) == 8
    test, other = fitted.evaluate(), fitted.evaluate([names(40)])
    assert test["NLL"] < 1.4 < np.log(9)  # the vocabulary has nine numbers: seven letters, the unknown and the end
    assert fitted.score([names(40)]) == -other["NLL"]
    rows = fitted.predict(["bodami\nmmmm\n"])
    assert rows["NLL"][0] < rows["NLL"][1]


def test_it_writes_what_its_log_probabilities_say(fitted):
    texts = fitted.generate("da", n=6, temperature=1.2)
    rows = fitted.predict(["\n".join("da" + text.text for text in texts)])
    # The table has −ln p of the prompt as well, which is the same for all.
    totals = [text.log_probability + row.NLL * row.tokens
              for text, row in zip(texts, rows.itertuples(), strict=True) if text.ended]  # fmt: skip
    assert len(totals) > 2
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)
    assert totals[0] > 0
    assert "".join(fitted.stream("da", temperature=1.2)) == texts[0].text
    best = fitted.generate("da", n=3, beam=9)
    assert best[0].log_probability >= max(text.log_probability for text in texts if text.ended)


@pytest.mark.parametrize("settings", [{"temperatur": 1}, {"top_k": 0}, {"beam": 2, "temperature": 0.5}])
def test_settings_that_cannot_be(fitted, settings):
    with pytest.raises(InputError):
        fitted.generate("da", **settings)


def test_it_comes_back_from_its_folder(fitted):
    loaded = LanguageModel.load(fitted.folder_)
    assert loaded.get_params()["hidden_size"] == 16
    assert loaded.generate("bo", n=3) == fitted.generate("bo", n=3)
    with pytest.raises(InputError, match="no test part"):
        loaded.evaluate()
    config = json.loads(json.dumps(loaded.task_.state()))["tokenizer"]
    assert config["kind"] == "characters"


def test_it_goes_on_learning(fitted):
    more = ["\n".join("bo" * count for count in range(3, 60))]
    before, weights = fitted.evaluate(more)["NLL"], fitted.model_.state_dict()["embedding.weight"].clone()
    loaded = LanguageModel.load(fitted.folder_).update(more, epochs=2, learning_rate=0.01)
    assert loaded.evaluate(more)["NLL"] < before
    assert (fitted.model_.state_dict()["embedding.weight"] == weights).all()


def test_the_folder_of_another_task_is_refused(tmp_path):
    from gatelab.core.config import ModelConfig, TrainingConfig
    from gatelab.tasks.problems.config import ProblemConfig
    from gatelab.tasks.problems.task import Problem
    from gatelab.training import fit

    task = Problem.open("adding", ProblemConfig(length=4, examples=32, held_out=8))
    fit(task, ModelConfig(hidden_size=2), TrainingConfig(epochs=1), folder=tmp_path)
    with pytest.raises(RunError, match="for problem"):
        LanguageModel.load(tmp_path)
