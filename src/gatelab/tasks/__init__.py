"""The table of tasks: one folder and one line each."""

from gatelab.core.registry import Registry

TASKS = Registry(
    "task",
    {
        "forecasting": "gatelab.tasks.forecasting.task:Forecasting",
        "language": "gatelab.tasks.language.task:Language",
        "music": "gatelab.tasks.music.task:Music",
        "problem": "gatelab.tasks.problems.task:Problem",
        "sequence-classification": "gatelab.tasks.sequence_classification.task:SequenceClassification",
        "text-classification": "gatelab.tasks.text_classification.task:TextClassification",
    },
)
