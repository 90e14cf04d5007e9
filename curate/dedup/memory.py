"""Memory at absolute addresses and bit counting, for the compiled kernels. Importing this module imports numba."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _pointer(builder: Any, args: Any, bits: int) -> Any:
    """Pointer to address + offset, the first two arguments of an intrinsic."""
    return builder.inttoptr(builder.add(args[0], args[1]), ir.IntType(bits).as_pointer())


@intrinsic
def load_byte(typingctx: Any, address: Any, offset: Any) -> Any:
    """One byte at an absolute address and an offset."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(builder, args, 8))

    return types.uint8(types.uint64, types.int64), codegen


@intrinsic
def load_eight(typingctx: Any, address: Any, offset: Any) -> Any:
    """Eight bytes, little endian, aligned or not."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.load(_pointer(builder, args, 64))
        value.align = 1
        return value

    return types.uint64(types.uint64, types.int64), codegen


@intrinsic
def store_eight(typingctx: Any, address: Any, offset: Any, value: Any) -> Any:
    """Write eight bytes, little endian, aligned or not."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(builder, args, 64)).align = 1
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.uint64), codegen


@intrinsic
def trailing_zeros(typingctx: Any, value: Any) -> Any:
    """Zero bits below the lowest set bit of a value that is not zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen
