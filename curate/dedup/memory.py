"""Memory at absolute addresses and bit counting, for the compiled kernels. Importing this module imports numba."""

from __future__ import annotations

from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

BLOCK = 64
"""Bytes that `fold_block` reads and writes at once."""

OPERATORS = "+-*/%=<>!&|^~"
"""What is an operator in code and formulas."""


def _runs(characters: str) -> list[tuple[str, int]]:
    """(first, number) of each run of neighbouring code points."""
    runs: list[tuple[str, int]] = []
    for character in sorted(characters):
        if runs and ord(character) == ord(runs[-1][0]) + runs[-1][1]:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((character, 1))
    return runs


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
def fold_block(typingctx: Any, address: Any, offset: Any) -> Any:
    """Write BLOCK bytes of ASCII in lower case, in place; returns one bit a byte, six times.

    Returns:
        (parts of words: letters, digits, underscore and all bytes from 128 on; capitals; digits; bytes that open a line
        or a value: newline, carriage return, colon; underscores; OPERATORS).
    """
    vector = ir.VectorType(ir.IntType(8), BLOCK)

    def same(byte: int) -> Any:
        return ir.Constant(vector, [byte] * BLOCK)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.inttoptr(builder.add(args[0], args[1]), vector.as_pointer())
        text = builder.load(place)
        text.align = 1

        def between(value: Any, first: str, count: int) -> Any:
            return builder.icmp_unsigned("<", builder.sub(value, same(ord(first))), same(count))

        def equal(byte: str) -> Any:
            return builder.icmp_unsigned("==", text, same(ord(byte)))

        capital, digit = between(text, "A", 26), between(text, "0", 10)
        letter = between(builder.or_(text, same(0x20)), "a", 26)
        beyond = builder.icmp_signed("<", text, same(0))
        score = equal("_")
        word = builder.or_(builder.or_(letter, digit), builder.or_(beyond, score))
        opening = builder.or_(builder.or_(equal("\n"), equal("\r")), equal(":"))
        sign = reduce(builder.or_, [between(text, first, count) for first, count in _runs(OPERATORS)])
        lowered = builder.add(text, builder.select(capital, same(0x20), same(0)))
        builder.store(lowered, place).align = 1
        bits = [builder.bitcast(mask, ir.IntType(BLOCK)) for mask in (word, capital, digit, opening, score, sign)]
        return context.make_tuple(builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, 6)(types.uint64, types.int64), codegen


@intrinsic
def word_block(typingctx: Any, address: Any, offset: Any) -> Any:
    """One bit a byte of BLOCK bytes: parts of words (ASCII letters, digits, underscore, all bytes from 128 on)."""
    vector = ir.VectorType(ir.IntType(8), BLOCK)

    def same(byte: int) -> Any:
        return ir.Constant(vector, [byte] * BLOCK)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        text = builder.load(builder.inttoptr(builder.add(args[0], args[1]), vector.as_pointer()))
        text.align = 1
        lowered = builder.or_(text, same(0x20))
        letter = builder.icmp_unsigned("<", builder.sub(lowered, same(ord("a"))), same(26))
        digit = builder.icmp_unsigned("<", builder.sub(text, same(ord("0"))), same(10))
        score = builder.icmp_unsigned("==", text, same(ord("_")))
        beyond = builder.icmp_signed("<", text, same(0))
        word = builder.or_(builder.or_(letter, digit), builder.or_(beyond, score))
        return builder.bitcast(word, ir.IntType(BLOCK))

    return types.uint64(types.uint64, types.int64), codegen


@intrinsic
def set_bits(typingctx: Any, value: Any) -> Any:
    """How many bits of a value are set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), codegen


@intrinsic
def trailing_zeros(typingctx: Any, value: Any) -> Any:
    """Zero bits below the lowest set bit of a value that is not zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen
