"""Every script of examples/ runs alone and offline, and the numbers it prints bear out what it says."""

import importlib.util
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
IMPORTS_OF_TORCH = 40
"""Processor time a script may take, kernels compiled: a minute where torch is imported in 1.5 s; 22 when measured."""
NUMBER = r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?"


@cache
def import_seconds() -> float:
    """Processor time in which this machine imports torch: a measure of its speed at such work."""
    before = sum(os.times()[2:4])
    subprocess.run([sys.executable, "-c", "import torch"], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return sum(os.times()[2:4]) - before


def printed(name: str, folder: Path) -> str:
    """What the script prints, with warnings as errors, from a copy that stands alone in an empty folder."""
    script = folder / name
    script.write_bytes((EXAMPLES / name).read_bytes())
    environment = {key: value for key, value in os.environ.items() if key != "GATELAB_DATA"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    most = IMPORTS_OF_TORCH * import_seconds()
    before = sum(os.times()[2:4])
    command = [sys.executable, "-W", "error", str(script)]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr[-2000:]
    assert sum(os.times()[2:4]) - before < most
    return result.stdout


def numbers(text: str, label: str) -> list[float]:
    """The numbers in the first line that has ``label``, after it."""
    line = next(line for line in text.splitlines() if label in line)
    return [float(found.replace(",", "")) for found in re.findall(NUMBER, line.split(label, 1)[1])]


def sentence(text: str, pattern: str) -> re.Match:
    """The first match of ``pattern`` in the text without its line ends."""
    found = re.search(pattern, " ".join(text.split()))
    assert found, pattern
    return found


def module(name: str):
    specification = importlib.util.spec_from_file_location(name[:-3], EXAMPLES / name)
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


def test_the_readme_has_every_script():
    rows = re.findall(r"^\| `(\w+\.py)` \| .+ \|$", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert {"01_lstm_theory.py", "lstm_number_sequence.py", "gru_number_sequence.py"} <= set(rows)


@pytest.mark.slow
def test_lstm_theory(tmp_path):
    text = printed("01_lstm_theory.py", tmp_path)
    assert numbers(text, "Largest difference of the states:")[0] < 1e-9
    assert numbers(text, "Largest difference of the gradients:")[0] < 1e-9
    assert numbers(text, "kept 99.3% of +0.66, and 0.7% of") == [-0.29]
    shut, opened = numbers(text, "LSTM, forget bias 0")[-1], numbers(text, "LSTM, forget bias 3")[-1]
    assert opened > 1e4 * shut
    (trained,), (line,) = (
        numbers(text, f"mean squared error, {name}") for name in ("LSTM", "linear regression on all 24 numbers")
    )
    assert trained < 0.1 * line
    assert line < numbers(text, "mean squared error, always the mean")[0]
    assert "found the plan of part 1" in sentence(text, "Going down the error.*").group()


@pytest.mark.slow
def test_gru_theory(tmp_path):
    text = printed("02_gru_theory.py", tmp_path)
    assert numbers(text, "Largest difference of the gradients:")[0] < 1e-9
    assert numbers(text, "any weights")[0] > 0.01
    assert numbers(text, "W_hn diagonal and b_hn zero")[0] < 1e-12
    assert numbers(text, "H = 64, GRU")[1] == 0.75
    assert numbers(text, "c of an LSTM") == pytest.approx([1, 2, 5, 10, 50, 100], abs=1e-3)
    assert max(numbers(text, "h of a GRU")) < 1
    rnn, gru = numbers(text, "RNN, H = 15, 285 parameters"), numbers(text, "GRU, H = 8, 288 parameters")
    assert len(gru) == 3
    assert max(gru) < 0.1 * min(rnn)


@pytest.mark.slow
def test_pytorch(tmp_path):
    text = printed("03_pytorch_lstm_gru.py", tmp_path)
    for layer in ("   LSTM    (", "   GRU     ("):
        *_, count, formula, gap = numbers(text, layer)
        assert count == formula
        assert gap < 1e-5
    ahead = {name: numbers(text, f"   {name} ") for name in ("last value", "linear autoregression", "LSTM ", "GRU ")}
    one_step = {name: numbers(text.split("steps ahead")[1], f"   {name} ")[0] for name in ahead}
    assert max(one_step["LSTM "], one_step["GRU "]) < 0.3 * one_step["linear autoregression"] < one_step["last value"]
    # Hénon's map has a Lyapunov exponent of 0.42 (see the constants of its literature): exp(0.42) = 1.52.
    assert float(sentence(text, r"parts neighbours ([\d.]+)-fold")[1]) == pytest.approx(1.52, abs=0.03)
    bits = {
        name: numbers(text, f"bits a character on new text, {name} ")[0]
        for name in ("frequencies", "5-gram", "LSTM", "what the grammar leaves to chance")
    }
    assert bits["what the grammar leaves to chance"] <= bits["LSTM"] < bits["frequencies"] / 4
    said = float(sentence(text, r"knows the next character ([\d.]+) bits (?:better|worse) than the 5-gram")[1])
    assert said == pytest.approx(abs(bits["5-gram"] - bits["LSTM"]), abs=0.011)
    check_forecast(text[text.index("A SERIES TO FORECAST") :])


def check_forecast(text: str) -> None:
    """The verdicts on the forecast are those of its intervals."""
    baselines = [numbers(text, name)[0] for name in ("last value", "same month of last year", "linear autoregression")]
    for name in ("LSTM", "GRU"):
        mean, _, low, high = numbers(text, f"   {name} ")
        assert low < mean < high
        verdict = sentence(text, rf"The {name} (beats|loses to|is not told apart from) (\w+ \w+)")
        assert verdict[2] == "linear autoregression"
        assert verdict[1] == (
            "beats" if high < min(baselines) else "loses to" if low > min(baselines) else "is not told apart from"
        )


@pytest.mark.slow
def test_comparison(tmp_path):
    text = printed("04_comparison.py", tmp_path)
    tasks = re.split(r"updates of \d+ sequences", text.split("2. TIME")[0])[1:]
    assert len(tasks) == 2
    for task in tasks:
        rows = {name: numbers(task, f"   {name:<5} ") for name in ("RNN", "LSTM", "GRU")}
        counts = [row[1] for row in rows.values()]
        assert max(counts) < 1.15 * min(counts)
        assert all(low < error < high for _, _, error, low, high, *_ in rows.values())
        assert rows["GRU"][2] < numbers(task, "linear regression")[0] < numbers(task, "   mean ")[0]
    timed = text.split("2. TIME")[1]
    for name in ("RNN", "LSTM", "GRU"):
        _, count, torchs, ours, ratio, gap = numbers(timed, f"   {name:<5} ")
        assert count == pytest.approx(16_000, rel=0.02)
        assert ratio == pytest.approx(torchs / ours, abs=0.02)
        assert gap < 1e-4  # of outputs and gradients in float32
    share = {name: numbers(text, f"   {name} ")[-1] for name in ("RNN, small_normal", "RNN, torch", "RNN, orthogonal")}
    assert share["RNN, small_normal"] < 1e-9 * share["RNN, torch"] < 1e-9 * share["RNN, orthogonal"]
    assert numbers(text, "LSTM, forget_bias:3")[-1] > 1e3 * numbers(text, "LSTM, torch")[-1]
    assert numbers(text, "LSTM, trained")[-1] > numbers(text, "RNN, trained")[-1]
    for task in ("Short memory", "Long memory"):
        assert sentence(text, rf"{task}.*? the (RNN|LSTM|GRU) has the smallest error")
    assert "RNN" in sentence(text, r"Long memory.*?Worse than it: (.*?)\.")[1]


@pytest.mark.slow
def test_advanced(tmp_path):
    text = printed("05_advanced_examples.py", tmp_path)
    both, rule = numbers(text, "GRU, both ways, H = 13"), numbers(text, "best rule that looks back only")
    plain = numbers(text, "GRU, forward, H = 20")
    assert plain[3] <= rule[0] + 0.01  # nothing that reads forward can know more
    assert both[2] > rule[0]
    assert sentence(text, r"GRU, both ways, H = 13 is better than it by")
    one, two = numbers(text, "GRU, 1 layer, H = 24"), numbers(text, "GRU, 2 layers, H = 14")
    assert one[0] == pytest.approx(two[0], rel=0.02)
    assert sentence(text, r"GRU, 2 layers, H = 14 is (not told apart from it|(better|worse) than it by)")
    last, attention = numbers(text, "GRU, last state, H = 18"), numbers(text, "GRU, additive attention, H = 12")
    assert attention[0] < last[0]
    assert attention[3] < last[2]
    assert float(sentence(text, r"the mark gets ([\d.]+) of the weight")[1]) > 0.5


@pytest.mark.slow
def test_lstm_number_sequence(tmp_path):
    text = printed("lstm_number_sequence.py", tmp_path)
    first, second = text.split("2. Asked for the step instead")
    assert numbers(first, "   [4, 5] ")[1] == pytest.approx(6, abs=0.1)
    assert numbers(first, "[10, 11] ")[:2] == [
        12,
        pytest.approx(float(sentence(first, r"The LSTM says ([\d.]+)")[1]), abs=0.01),
    ]
    ceilings = [float(value) for value in sentence(first, r"say more than ([\d., ]+):")[1].split(", ")]
    assert len(ceilings) == 5
    assert numbers(first, "[50, 51] ")[3] < max(ceilings) < 52
    assert float(sentence(first, r"errs by (\S+) at most on the same questions")[1]) < 1e-9
    assert numbers(second, "[50, 51] ")[1] == pytest.approx(52, abs=0.01)


@pytest.mark.slow
def test_gru_number_sequence(tmp_path):
    text = printed("gru_number_sequence.py", tmp_path)
    first, second = text.split("2. Each number as seen from the last one")
    assert max(numbers(first, "pairs held out:")) < 0.2
    assert abs(numbers(first, "[50, 49] ")[1] - 48) > 5
    assert numbers(second, "[50, 49] ")[1] == pytest.approx(48, abs=0.1)
    assert abs(numbers(second, "[10, 30] ")[1] - 50) > 5
    assert float(sentence(text, r"is off by (\S+) at most\. So this toy")[1]) < 1e-9


def test_shakespeare_is_read_where_there_is_a_mirror(tmp_path, monkeypatch):
    example = module("03_pytorch_lstm_gru.py")
    (tmp_path / "tiny_shakespeare").mkdir()
    (tmp_path / "tiny_shakespeare" / "input.txt").write_text("First Citizen:\n", encoding="utf-8")
    monkeypatch.setenv("GATELAB_DATA", str(tmp_path))
    assert example.corpus() == ("First Citizen:\n", "Shakespeare", None)
    monkeypatch.delenv("GATELAB_DATA")
    text, name, floor = example.corpus()
    assert name == "a small grammar"
    assert floor == pytest.approx(np.log2(7 * 8 * 6 * 5) * text.count("\n") / len(text))
