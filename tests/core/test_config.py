from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatelab.core.config import ModelConfig, TrainingConfig, changes, from_dict, from_options, to_dict
from gatelab.core.errors import InputError
from gatelab.data.roles import Roles
from gatelab.tasks.forecasting.config import ForecastingConfig


@given(
    st.builds(
        TrainingConfig,
        epochs=st.integers(1, 100),
        patience=st.none() | st.integers(1, 20),
        clip_norm=st.none() | st.floats(0.1, 10),
        max_seconds=st.none() | st.floats(1, 100),
        learning_rate=st.floats(1e-5, 1.0),
    )
)
def test_a_configuration_comes_back_from_its_dictionary(config):
    assert from_dict(TrainingConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_nested_configurations_come_back_too():
    config = ForecastingConfig(Roles(target=("a", "b"), past=("*",), missing=("-200",)), horizon=3, split=(0.5, 0.5))
    assert from_dict(ForecastingConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_a_name_that_is_not_a_setting_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean learning_rate"):
        from_dict(TrainingConfig, {"lerning_rate": 0.1})


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (ModelConfig, {"hidden_size": 0}),
        (ModelConfig, {"num_layers": 0}),
        (ModelConfig, {"dropout": 1.0}),
        (ModelConfig, {"input_dropout": -0.1}),
        (ModelConfig, {"recurrent_dropout": 1.0}),
        (ModelConfig, {"zoneout": 1.5}),
        (ModelConfig, {"batch_norm": True, "layer_norm": True}),
        (TrainingConfig, {"epochs": 0}),
        (TrainingConfig, {"batch_size": 0}),
        (TrainingConfig, {"learning_rate": 0.0}),
        (TrainingConfig, {"clip_norm": 0.0}),
        (TrainingConfig, {"patience": 0}),
        (TrainingConfig, {"max_seconds": -1.0}),
        (TrainingConfig, {"checkpoint_seconds": -1.0}),
        (ForecastingConfig, {"horizon": 0}),
        (ForecastingConfig, {"quantiles": (0.1, 0.9)}),
        (ForecastingConfig, {"split": (0.7, -0.1, 0.2)}),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(kind, bad):
    with pytest.raises(InputError) as caught:
        kind(**bad)
    assert "--" + next(iter(bad)).replace("_", "-") in str(caught.value)


def test_flat_options_find_their_part():
    config = from_options(ForecastingConfig, {"target": "y", "horizon": 4, "missing": ["-1", "-2"], "split": [8, 1, 1]})
    assert config.roles.target == ("y",)
    assert config.roles.missing == ("-1", "-2")
    assert config.split == (8, 1, 1)
    with pytest.raises(InputError, match="did you mean horizon"):
        from_options(ForecastingConfig, {"horizn": 4})


def test_changes_are_what_differs_from_the_defaults():
    assert changes(TrainingConfig()) == {}
    assert changes(TrainingConfig(patience=None, epochs=7)) == {"epochs": 7, "patience": None}
    assert changes(ForecastingConfig(Roles(target=("y",)))) == {"roles": {"target": ["y"]}}


def test_a_field_added_at_its_default_changes_nothing():
    @dataclasses.dataclass(frozen=True)
    class Later(TrainingConfig):
        momentum: float = 0.9

    assert changes(Later(epochs=3)) == changes(TrainingConfig(epochs=3))


def test_defaults_are_kept():
    """Records are known by what differs from these. A new default needs a new name, or the records run again."""
    assert to_dict(ModelConfig()) == {
        "cell": "gru",
        "hidden_size": 32,
        "num_layers": 1,
        "residual": False,
        "dropout": 0.0,
        "bidirectional": False,
        "reset_after": True,
        "init": "torch",
        "layer_norm": False,
        "batch_norm": False,
        "input_dropout": 0.0,
        "recurrent_dropout": 0.0,
        "weight_drop": 0.0,
        "zoneout": 0.0,
        "peephole": False,
        "coupled": False,
        "learn_initial_state": False,
    }
    assert to_dict(TrainingConfig()) == {
        "epochs": 50,
        "batch_size": 64,
        "optimizer": "adam",
        "learning_rate": 3e-3,
        "weight_decay": 0.0,
        "schedule": "cosine",
        "warmup_steps": 0,
        "clip_norm": 1.0,
        "patience": 8,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
        "checkpoint_seconds": 30.0,
        "tensorboard": False,
    }
    assert to_dict(ForecastingConfig()) == {
        "roles": {"target": [], "future": [], "missing": [], "duplicates": "error"},
        "split": [0.7, 0.1, 0.2],
        "normalise": "auto",
        "highway": True,
        "quantiles": [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975],
        "point": "median",
        "positive": False,
        "metric": "auto",
    }


@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        (TrainingConfig, "learning_rate", float("inf"), "a finite number"),
        (TrainingConfig, "learning_rate", "fast", "a finite number"),
        (TrainingConfig, "learning_rate", 1e300, "at most"),
        (TrainingConfig, "epochs", 2.5, "a whole number"),
        (TrainingConfig, "epochs", True, "a whole number"),
        (TrainingConfig, "epochs", 2**70, "a whole number up to"),
        (TrainingConfig, "threads", 10**6, "from 0 to"),
        (TrainingConfig, "schedule", "sinus", "'constant' or 'cosine'"),
        (TrainingConfig, "patience", "none", "a whole number up to .* or none"),
        (TrainingConfig, "tensorboard", 1, "true or false"),
        (ModelConfig, "num_layers", 10**6, "from 1 to 1,000"),
        (ModelConfig, "hidden_size", 2**40, "from 1 to"),
        (ModelConfig, "cell", ["gru"], "a text"),
    ],
)
def test_what_no_setting_can_be_is_refused_wherever_it_is_read(kind, name, value, expected):
    with pytest.raises(InputError, match=f"(?s){name} cannot be.*{expected}.*--{name.replace('_', '-')}"):
        from_dict(kind, {name: value})
