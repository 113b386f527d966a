"""The command ``gatelab``: finds the command asked for, loads it alone, and turns what goes wrong into exit codes.

======  ================================================================================
code    meaning
======  ================================================================================
0       done
1       an error of gatelab's own; ``--debug`` shows the traceback
2       something the user can mend: the message on stderr says what and how
130     stopped with Ctrl-C
141     whoever read the output has gone (``gatelab … | head``)
======  ================================================================================
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

import gatelab
from gatelab.core.errors import GatelabError, InputError, nearest
from gatelab.core.processes import launched


class Command(NamedTuple):
    """A command: a module with ``main(argv) -> int | None``, imported when it is asked for."""

    module: str
    text: str


COMMANDS = {
    "compare": Command("gatelab.cli.compare", "RNN, LSTM or GRU? Train, score and compare them on your data"),
    "study": Command("gatelab.cli.study", "answer a research question about recurrent networks, or list them"),
    "suggest": Command("gatelab.cli.suggest", "how many hidden units suit your series, and what that rests on"),
    "fit": Command("gatelab.cli.fit", "train one model and score it beside simple baselines"),
    "predict": Command("gatelab.cli.predict", "what a trained model says about new data, such as the next steps"),
    "generate": Command("gatelab.cli.generate", "let a language model write, and watch"),
    "evaluate": Command("gatelab.cli.evaluate", "score a trained model on other data, or train it again in a backtest"),
    "update": Command("gatelab.cli.update", "go on training a model with new rows"),
    "bench": Command(
        "gatelab.cli.bench", "how fast the layers are, beside torch.nn, onnxruntime and the machine's limit"
    ),
    "export": Command("gatelab.cli.export", "write a trained model as an ONNX file"),
    "data": Command("gatelab.cli.data", "list, get and look at data sets and files"),
}

_EXAMPLES = """\
  gatelab compare forecasting co2_weekly --budget quick
  gatelab compare forecasting my.csv --target load --horizon 24
  gatelab predict runs/compare-forecasting-my
  gatelab data show my.csv
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line ``argv`` (that of the process by default) and gives the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words or os.environ.get("GATELAB_DEBUG", "0") not in ("", "0")
    words = [word for word in words if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets question marks, not a traceback
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        return _interrupted(words)
    except BrokenPipeError:
        # What Python would flush at exit has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except GatelabError as error:
        return _refused(error, debug)
    except Exception as error:
        return _failed(error, debug)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        return _help()
    if words[0] == "--version":
        print(f"gatelab {gatelab.__version__}")
        return 0
    if words[0] not in COMMANDS:
        raise InputError(
            f"there is no command {words[0]!r}",
            expected=f"one of {', '.join(COMMANDS)}",
            fix=f"did you mean {nearest(words[0], COMMANDS)}? `gatelab --help` shows all",
        )
    if launched() and words[0] != "fit":
        raise InputError(
            f"gatelab {words[0]} runs in one process", got="torchrun", fix="leave torchrun away: it is for gatelab fit"
        )
    # The one import of a command's own code: the others, and torch, stay unloaded.
    return import_module(COMMANDS[words[0]].module).main(words[1:]) or 0


def _help() -> int:
    width = max(map(len, COMMANDS))
    print("usage: gatelab COMMAND …\n")
    print("The laboratory for recurrent networks: find out which one your data needs, train it, use it.\n\ncommands:")
    for name, command in COMMANDS.items():
        print(f"  {name:<{width}}  {command.text}")
    print(f"\nexamples:\n{_EXAMPLES}")
    print("`gatelab COMMAND --help` explains a command; `--debug` anywhere shows tracebacks.")
    return 0


def _interrupted(words: list[str]) -> int:
    from gatelab.cli.console import note

    note("", "stopped. What was finished is kept; to go on:", f"  {shlex.join(['gatelab', *words])}")
    return 130


def _refused(error: GatelabError, debug: bool) -> int:
    from gatelab.cli.console import say_error

    if debug:
        _say_where()
    say_error(error)
    return 2


def _failed(error: Exception, debug: bool) -> int:
    from gatelab.cli.console import err, note
    from gatelab.core.printable import printable

    if debug:
        _say_where()
    err.print(f"gatelab failed: {type(error).__name__}: {printable(error)}", style="bold red", soft_wrap=True)
    if not debug:
        note(
            "This is an error in gatelab, not in what you typed. The same command with --debug shows where it "
            f"happened; please report that, with the version ({gatelab.__version__})."
        )
    return 1


def _say_where() -> None:
    """Prints the traceback, whose messages may have text of a file in them."""
    from gatelab.cli.console import err
    from gatelab.core.printable import LINES, printable

    err.file.write(printable(traceback.format_exc(), keep=LINES))
