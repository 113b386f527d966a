"""Vectors as wide as the machine, for Numba: a type that adds and multiplies, is loaded and stored.

Numba hands loops to LLVM and hopes that they come out as vector code; with a handful of arrays in one loop they often
do not. Here the vectors are written down: a ``Vector`` is 64 bytes of float32 or float64, an LLVM vector, which the
machine's registers hold whole (AVX-512), in halves (AVX2) or in quarters (NEON, SSE). Arithmetic on it looks like
arithmetic on numbers:

    c = load(f_row, j, left) * load(c_row, j, left) + i * g
    store(c_row, j, left, c)

``left`` is how many elements remain in the row: what lies beyond them is neither read nor written. Where LLVM can see
that at least a whole vector is left, the mask costs nothing.

New instructions are functions that ``emits`` makes of what LLVM is to do; ``gatelab.kernels.tiles`` has more of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

BYTES = 64
PANEL = 2  # vectors side by side in one column block of a product

_MANY_REGISTERS = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
ROWS = (12, 8, 4) if _MANY_REGISTERS else (3, 2, 1)
"""How many rows a block of a product may have: as many as leave room for the columns in the registers."""
GRAIN = 4 if _MANY_REGISTERS else 3
"""Rows may be divided between threads at multiples of this, and every sum is still made in the same order."""


def emits(define: Callable[..., Any]) -> Callable[..., Any]:
    """A function for compiled code: ``define`` gives its types and the LLVM instructions that it becomes."""
    return intrinsic(define)


class Vector(types.Type):
    """``BYTES`` of ``dtype`` side by side."""

    def __init__(self, dtype: types.Float):
        self.dtype, self.lanes = dtype, BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}, {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type):
        super().__init__(manager, fe_type, vector(manager[fe_type.dtype].get_value_type(), fe_type.lanes))


def vector(element: ir.Type, lanes: int) -> ir.VectorType:
    """LLVM's type of ``lanes`` elements side by side."""
    return ir.VectorType(element, lanes)


def splat(builder: ir.IRBuilder, value, lanes: int):
    """The vector whose every lane is ``value``."""
    undefined = ir.Constant(vector(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(vector(ir.IntType(32), lanes), [0] * lanes))


def call(builder: ir.IRBuilder, name: str, result: ir.Type, *args, fastmath: tuple[str, ...] = ()):
    """A call of the LLVM intrinsic ``name`` (its types' suffix included)."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [argument.type for argument in args]), name
    )
    return builder.call(function, args, fastmath=fastmath)


def suffix_of(kind: ir.VectorType) -> str:
    """What the names of LLVM's intrinsics say of the type."""
    return f"v{kind.count}f{32 if isinstance(kind.element, ir.FloatType) else 64}"


# ---- arithmetic ----------------------------------------------------------------------------------------------------


def _mixed(args) -> Vector | None:
    """The vector type of an operation on vectors of one type and numbers; None where there is no vector."""
    kinds = {argument for argument in args if isinstance(argument, Vector)}
    plain = all(isinstance(argument, Vector | types.Number) for argument in args)
    return kinds.pop() if len(kinds) == 1 and plain else None


def _operator(function, instruction: str) -> None:
    @infer_global(function)
    class _Typing(AbstractTemplate):
        def generic(self, args, kws):
            kind = _mixed(args)
            return None if kind is None else signature(kind, *args)

    def lower(context, builder, sig, args):
        kind = sig.return_type
        values = [_as_vector(context, builder, a, t, kind) for a, t in zip(args, sig.args, strict=True)]
        # `contract` lets a product and a sum become one instruction, as a compiler of C does by default.
        return getattr(builder, instruction)(*values, flags=("contract",))

    for kinds in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(function, *kinds)(lower)


def _as_vector(context, builder, value, given, kind: Vector):
    if isinstance(given, Vector):
        return value
    return splat(builder, context.cast(builder, value, given, kind.dtype), kind.lanes)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_function, _instruction)


@infer_global(operator.neg)
class _Negation(AbstractTemplate):
    def generic(self, args, kws):
        return signature(args[0], args[0]) if isinstance(args[0], Vector) else None


@lower_builtin(operator.neg, Vector)
def _negate(context, builder, sig, args):
    return builder.fneg(args[0])


def _bound(comparison: str):
    """The first vector, or a bound (vector or number) in the lanes where the comparison holds; NaN stays NaN."""

    @emits
    def function(typingctx, x, bound):
        def generate(context, builder, sig, args):
            limit = _as_vector(context, builder, args[1], sig.args[1], sig.return_type)
            return builder.select(builder.fcmp_ordered(comparison, args[0], limit), limit, args[0])

        return (x(x, bound), generate) if isinstance(x, Vector) else None

    return function


at_most = _bound(">")
at_least = _bound("<")


@emits
def where_above(typingctx, x, bound, y):
    """``y`` in the lanes in which ``x`` is above the number ``bound``, or NaN; 0 in the others."""

    def generate(context, builder, sig, args):
        kind = args[0].type
        limit = _as_vector(context, builder, args[1], sig.args[1], sig.return_type)
        below = builder.fcmp_ordered("<=", args[0], limit)
        return builder.select(below, ir.Constant(kind, [0.0] * x.lanes), args[2])

    return (x(x, bound, y), generate) if isinstance(x, Vector) else None


ROUNDER = 1.5 * 2.0**23
"""Added to a float32 below 2^22, it leaves the nearest whole number in the sum's lowest bits."""


@emits
def power_of_two(typingctx, shifted):
    """2^n in float32, for ``shifted = n + ROUNDER``, n from −126 to 127: n's bits become the exponent's."""

    def generate(context, builder, sig, args):
        whole = vector(ir.IntType(32), shifted.lanes)
        fraction, one = ir.Constant(whole, [23] * shifted.lanes), ir.Constant(whole, [127 << 23] * shifted.lanes)
        exponent = builder.add(builder.shl(builder.bitcast(args[0], whole), fraction), one)
        return builder.bitcast(exponent, args[0].type)

    return shifted(shifted), generate


def _lane_by_lane(name: str):
    """A float64 function of the C library, lane by lane: exact, and not fast."""

    @emits
    def function(typingctx, x):
        def generate(context, builder, sig, args):
            result = args[0]
            for lane in range(x.lanes):
                index = ir.IntType(32)(lane)
                value = call(builder, name, ir.DoubleType(), builder.extract_element(args[0], index))
                result = builder.insert_element(result, value, index)
            return result

        return x(x), generate

    return function


exact_exp = _lane_by_lane("exp")
exact_tanh = _lane_by_lane("tanh")


@emits
def only(typingctx, x, left):
    """The first ``left`` lanes of a vector, and zeros."""

    def generate(context, builder, sig, args):
        kind = args[0].type
        return builder.select(mask_of(builder, args[1], x.lanes), args[0], ir.Constant(kind, [0.0] * x.lanes))

    return x(x, types.intp), generate


@emits
def total(typingctx, x):
    """The sum of a vector's lanes, a number."""

    def generate(context, builder, sig, args):
        zero = args[0].type.element(-0.0)
        name = f"llvm.vector.reduce.fadd.{suffix_of(args[0].type)}"
        return call(builder, name, args[0].type.element, zero, args[0], fastmath=("reassoc",))

    return x.dtype(x), generate


# ---- memory --------------------------------------------------------------------------------------------------------


@emits
def pointer(typingctx, array):
    """The address of a C-contiguous array's first element. The array must outlive its use: pass arrays in."""

    def generate(context, builder, sig, args):
        return context.make_array(sig.args[0])(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), generate


@emits
def there(typingctx, address, like):
    """The place that has this address for numbers of the type that those at ``like`` have (an array will do)."""

    def generate(context, builder, sig, args):
        return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

    return types.CPointer(like.dtype)(types.intp, like), generate


def _at(dtype: types.Type):
    """``there`` for numbers of one type."""

    @emits
    def function(typingctx, address):
        def generate(context, builder, sig, args):
            return builder.inttoptr(args[0], context.get_value_type(sig.return_type))

        return types.CPointer(dtype)(types.intp), generate

    return function


bytes_at = _at(types.uint8)
integers_at = _at(types.int64)


@emits
def shifted(typingctx, base, offset):
    """The address ``offset`` elements further."""

    def generate(context, builder, sig, args):
        return builder.gep(args[0], [args[1]])

    return base(base, types.intp), generate


def mask_of(builder: ir.IRBuilder, left, lanes: int):
    """Which of ``lanes`` lanes lie within the ``left`` remaining elements."""
    index = ir.Constant(vector(left.type, lanes), list(range(lanes)))
    return builder.icmp_signed("<", index, splat(builder, left, lanes))


def place(builder: ir.IRBuilder, base, offset, kind: ir.Type):
    """The address ``offset`` elements further, of a ``kind``."""
    return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())


@emits
def load(typingctx, base, offset, left):
    """The vector at element ``offset`` of the array at ``base``; zeros beyond the ``left`` remaining elements."""
    result = Vector(base.dtype)

    def generate(context, builder, sig, args):
        kind = context.get_value_type(result)
        where = place(builder, args[0], args[1], kind)
        mask = mask_of(builder, args[2], result.lanes)
        zero = ir.Constant(kind, [0.0] * result.lanes)
        align = ir.IntType(32)(base.dtype.bitwidth // 8)
        return call(builder, f"llvm.masked.load.{suffix_of(kind)}.p0", kind, where, align, mask, zero)

    return result(base, types.intp, types.intp), generate


@emits
def load_bytes(typingctx, base, offset, left, like):
    """As ``load``, from an array of uint8: each byte a number, in the lanes of ``like``'s type."""

    def generate(context, builder, sig, args):
        kind = vector(ir.IntType(8), like.lanes)
        where = place(builder, args[0], args[1], kind)
        mask = mask_of(builder, args[2], like.lanes)
        zero, align = ir.Constant(kind, [0] * like.lanes), ir.IntType(32)(1)
        loaded = call(builder, f"llvm.masked.load.v{like.lanes}i8.p0", kind, where, align, mask, zero)
        return builder.uitofp(loaded, args[3].type)

    return like(base, types.intp, types.intp, like), generate


@emits
def store(typingctx, base, offset, left, value):
    """Writes a vector at element ``offset`` of the array at ``base``; nothing beyond the ``left`` elements."""

    def generate(context, builder, sig, args):
        kind = args[3].type
        where = place(builder, args[0], args[1], kind)
        mask = mask_of(builder, args[2], value.lanes)
        align = ir.IntType(32)(value.dtype.bitwidth // 8)
        name = f"llvm.masked.store.{suffix_of(kind)}.p0"
        call(builder, name, ir.VoidType(), args[3], where, align, mask)
        return context.get_dummy_value()

    return types.void(base, types.intp, types.intp, value), generate


@emits
def peek(typingctx, base, offset):
    """The number at element ``offset`` of the array at ``base``."""

    def generate(context, builder, sig, args):
        return builder.load(builder.gep(args[0], [args[1]]))

    return base.dtype(base, types.intp), generate


@emits
def poke(typingctx, base, offset, value):
    """Writes a number at element ``offset`` of the array at ``base``."""

    def generate(context, builder, sig, args):
        builder.store(args[2], builder.gep(args[0], [args[1]]))
        return context.get_dummy_value()

    return types.void(base, types.intp, base.dtype), generate


@emits
def zeros(typingctx, base):
    """A vector of zeros, of the array at ``base``'s type."""
    result = Vector(base.dtype)

    def generate(context, builder, sig, args):
        return ir.Constant(context.get_value_type(result), [0.0] * result.lanes)

    return result(base), generate


@emits
def filled(typingctx, like, value):
    """A vector of ``like``'s type with ``value`` in every lane."""

    def generate(context, builder, sig, args):
        return _as_vector(context, builder, args[1], value, like)

    return like(like, value), generate


@emits
def number(typingctx, base, value):
    """``value`` as an element of the array at ``base``: what is computed with it stays of that type."""

    def generate(context, builder, sig, args):
        return context.cast(builder, args[1], value, base.dtype)

    return base.dtype(base, value), generate


@emits
def lanes(typingctx, base):
    """How many elements of the array at ``base`` make a vector: a constant."""
    count = BYTES * 8 // base.dtype.bitwidth
    return types.intp(base), lambda context, builder, sig, args: ir.IntType(64)(count)
