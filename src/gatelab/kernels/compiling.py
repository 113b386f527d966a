"""Compilation, kept on disk.

Numba's own cache notices a change in the file of a compiled function, and none in the files of what it calls. Here all
files of this package count: their digest names the folder. Where no folder can be written, nothing is kept.

Numba copies what a function calls into that function, and optimizes the copy again, level by level. What is large and
called in many places is therefore compiled ``apart`` and called by its address.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

import llvmlite.binding
import numba
import platformdirs
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.typed_passes import IRLegalization
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import lower_builtin

_KEPT = 60 * 86_400.0  # seconds; of code that nobody uses
_config: Any = numba.config
_njit: Any = numba.njit  # its hints do not know all options

# ---- compilers -----------------------------------------------------------------------------------------------------


class _Unfinished(JITCodeLibrary):
    """Code that others copy into themselves: neither optimized nor made executable on its own."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout  # all that Numba does here besides

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    @property
    def codegen(self) -> Any:
        return self  # which is then asked to ``set_env``

    def set_env(self, name: str, environment: Any) -> None:
        """Numba's way to tell finished code where its Python objects are; this code has none."""


@register_pass(mutates_CFG=False, analysis_only=True)
class _ForOthers(AnalysisPass):
    """Has what is compiled next put into an ``_Unfinished`` library."""

    _name = "gatelab_for_others"

    def __init__(self) -> None:
        super().__init__()  # abstract above

    def run_pass(self, state) -> bool:  # type: ignore[bad-override]  # whether it changed anything, as Numba's do
        state.library = _Unfinished(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


class _PartCompiler(CompilerBase):
    """Numba's compiler for functions that only compiled code calls."""

    def define_pipelines(self) -> list[Any]:
        passes: Any = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_ForOthers, IRLegalization)
        passes.finalize()
        return [passes]


_OPTIONS: Any = {"error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}  # as C divides; no allocation
_WITHIN: Any = {**_OPTIONS, "no_cpython_wrapper": True, "pipeline_class": _PartCompiler}
INLINED: Any = {**_WITHIN, "forceinline": True}


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles ``function`` when it is first called, to run without Python's lock and to divide as C does."""
    compiled = _njit(nogil=True, **_OPTIONS)(function)
    _keep(compiled)
    return compiled


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles ``function`` where a kernel calls it; nobody else can, for what that takes is most of its code."""
    return _njit(**_WITHIN)(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A ``part`` that LLVM copies into its callers: for a few lines. Numba's own inlining takes far longer."""
    return _njit(**INLINED)(function)


ADDRESS = types.CPointer


def SIZE(dtype: types.Float) -> types.Type:  # noqa: N802
    """The type of a number of elements."""
    return types.intp


def FLAG(dtype: types.Float) -> types.Type:  # noqa: N802
    """The type of a yes or no."""
    return types.boolean


def apart(*kinds: Callable[[types.Float], types.Type]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Compiles a function once for each number type; kernels call it by its address.

    Args:
        kinds: the types of its arguments, given that of the numbers; the first is an ``ADDRESS``.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        class Typing(AbstractTemplate):
            key = function

            def generic(self, args, kws):
                provide(args[0].dtype)
                return types.void(*(kind(args[0].dtype) for kind in kinds))

        infer_global(function, types.Function(Typing))

        @lower_builtin(function, types.VarArg(types.Any))
        def _call(context, builder, sig, args):
            kind = ir.FunctionType(ir.VoidType(), [value.type for value in args])
            name = _symbol(function, sig.args[0].dtype)
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)
            return context.get_dummy_value()

        _apart[function] = kinds
        return function

    return register


_apart: dict[Callable[..., None], Sequence[Callable[[types.Float], types.Type]]] = {}


_provided: dict[str, Any] = {}
"""Kept as long as the process lives, for their addresses are."""


def _symbol(function: Callable[..., None], dtype: types.Float) -> str:
    return f"gatelab_{function.__name__}_{dtype}"


def provide(dtype: types.Float) -> None:
    """Makes all that is apart, and its addresses known: before a kernel is compiled, or read from the disk."""
    with global_compiler_lock:
        for function, kinds in _apart.items():
            name = _symbol(function, dtype)
            if name not in _provided:
                made: Any = CFunc(function, (tuple(kind(dtype) for kind in kinds), types.void), {}, {**_OPTIONS})
                _keep(made)
                made.compile()
                llvmlite.binding.add_symbol(name, made.address)
                _provided[name] = made


def pretend(dtype: types.Float) -> None:
    """In the place of ``provide``, for a process that compiles kernels, and calls nothing that is apart."""
    for name in (_symbol(function, dtype) for function in _apart):
        if name not in _provided:
            llvmlite.binding.add_symbol(name, 1)  # 0 would be no symbol
            _provided[name] = None


def _keep(compiled: Any) -> None:
    """Lets compiled code be kept on disk."""
    before = _config.CACHE_DIR
    try:
        _config.CACHE_DIR = str(folder())  # read now, and never again for this function
        compiled.enable_caching()
        _mind_damage(compiled._cache)
    except (OSError, RuntimeError):  # Numba's word for a place that cannot be written
        pass
    finally:
        _config.CACHE_DIR = before


def _mind_damage(kept: Any) -> None:
    """Has code that was cut short or emptied on disk compiled again, where Numba would raise at every call."""
    load = kept.load_overload

    def load_overload(*what: Any) -> Any:
        try:
            return load(*what)
        except Exception as error:  # whatever pickle makes of what is left of a file
            print(  # noqa: T201
                f"gatelab: compiled code on disk is damaged ({type(error).__name__}) and is made anew", file=sys.stderr
            )
            with suppress(OSError):
                kept.flush()
            return None

    kept.load_overload = load_overload


@cache
def folder() -> Path:
    """``NUMBA_CACHE_DIR``, beside these files or in the user's cache, whichever comes first and can be written."""
    here = Path(__file__).parent
    digest = sha256(b"".join(path.read_bytes() for path in sorted(here.glob("*.py")))).hexdigest()[:16]
    beside = here / "__pycache__"
    own = beside if os.access(beside if beside.exists() else here, os.W_OK) else platformdirs.user_cache_path("gatelab")
    chosen = Path(_config.CACHE_DIR or own) / f"kernels-{digest}"
    _forget_others(chosen)
    return chosen


def _forget_others(mine: Path) -> None:
    """Removes what other versions of these files left beside ``mine`` and nobody has used for ``_KEPT`` seconds."""
    with suppress(OSError):
        os.utime(mine)
    for other in mine.parent.glob("kernels-" + 16 * "?"):
        with suppress(OSError):
            if other != mine and time.time() - other.stat().st_mtime > _KEPT:
                rmtree(other, ignore_errors=True)
