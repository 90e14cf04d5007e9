"""Memory at absolute addresses and bit counting, for the compiled kernels. Importing this module imports numba."""

from __future__ import annotations

from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

BLOCK = 64
"""Bytes that are looked at at once."""

_VECTOR = ir.VectorType(ir.IntType(8), BLOCK)

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
def store_byte(typingctx: Any, address: Any, offset: Any, value: Any) -> Any:
    """Write the lowest byte of a value."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(builder.trunc(args[2], ir.IntType(8)), _pointer(builder, args, 8))
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.int64), codegen


def _block(builder: Any, args: Any) -> Any:
    """Where BLOCK bytes at address + offset, the first two arguments of an intrinsic, are."""
    return builder.inttoptr(builder.add(args[0], args[1]), _VECTOR.as_pointer())


def _loaded(builder: Any, args: Any) -> Any:
    """BLOCK bytes at address + offset."""
    text = builder.load(_block(builder, args))
    text.align = 1
    return text


def _same(byte: int) -> Any:
    """BLOCK times one byte."""
    return ir.Constant(_VECTOR, [byte] * BLOCK)


@intrinsic
def copy_block(typingctx: Any, address: Any, offset: Any, target: Any, place: Any) -> Any:
    """Copy BLOCK bytes from address + offset to target + place."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(_loaded(builder, args), _block(builder, args[2:])).align = 1
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.uint64, types.int64), codegen


@intrinsic
def equal_block(typingctx: Any, address: Any, offset: Any, byte: Any) -> Any:
    """One bit a byte of BLOCK bytes: equal to a byte."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lane = builder.insert_element(_same(0), builder.trunc(args[2], ir.IntType(8)), ir.IntType(32)(0))
        every = builder.shuffle_vector(lane, _same(0), ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK))
        return builder.bitcast(builder.icmp_unsigned("==", _loaded(builder, args), every), ir.IntType(BLOCK))

    return types.uint64(types.uint64, types.int64, types.int64), codegen


@intrinsic
def string_block(typingctx: Any, address: Any, offset: Any) -> Any:
    """One bit a byte of BLOCK bytes: what cannot stand in a JSON string for itself (quote, backslash, control)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        text = _loaded(builder, args)
        quote, slash = (builder.icmp_unsigned("==", text, _same(ord(byte))) for byte in ('"', "\\"))
        stops = builder.or_(builder.or_(quote, slash), builder.icmp_unsigned("<", text, _same(32)))
        return builder.bitcast(stops, ir.IntType(BLOCK))

    return types.uint64(types.uint64, types.int64), codegen


@intrinsic
def fold_block(typingctx: Any, address: Any, offset: Any) -> Any:
    """Write BLOCK bytes of ASCII in lower case, in place; returns one bit a byte, six times.

    Returns:
        (parts of words: letters, digits, underscore and all bytes from 128 on; capitals; digits; bytes that open a line
        or a value: newline, carriage return, colon; underscores; OPERATORS).
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        text = _loaded(builder, args)

        def between(value: Any, first: str, count: int) -> Any:
            return builder.icmp_unsigned("<", builder.sub(value, _same(ord(first))), _same(count))

        def equal(byte: str) -> Any:
            return builder.icmp_unsigned("==", text, _same(ord(byte)))

        capital, digit = between(text, "A", 26), between(text, "0", 10)
        letter = between(builder.or_(text, _same(0x20)), "a", 26)
        beyond = builder.icmp_signed("<", text, _same(0))
        score = equal("_")
        word = builder.or_(builder.or_(letter, digit), builder.or_(beyond, score))
        opening = builder.or_(builder.or_(equal("\n"), equal("\r")), equal(":"))
        sign = reduce(builder.or_, [between(text, first, count) for first, count in _runs(OPERATORS)])
        lowered = builder.add(text, builder.select(capital, _same(0x20), _same(0)))
        builder.store(lowered, _block(builder, args)).align = 1
        bits = [builder.bitcast(mask, ir.IntType(BLOCK)) for mask in (word, capital, digit, opening, score, sign)]
        return context.make_tuple(builder, signature.return_type, bits)

    return types.UniTuple(types.uint64, 6)(types.uint64, types.int64), codegen


@intrinsic
def word_block(typingctx: Any, address: Any, offset: Any) -> Any:
    """One bit a byte of BLOCK bytes: parts of words (ASCII letters, digits, underscore, all bytes from 128 on)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        text = _loaded(builder, args)
        lowered = builder.or_(text, _same(0x20))
        letter = builder.icmp_unsigned("<", builder.sub(lowered, _same(ord("a"))), _same(26))
        digit = builder.icmp_unsigned("<", builder.sub(text, _same(ord("0"))), _same(10))
        score = builder.icmp_unsigned("==", text, _same(ord("_")))
        beyond = builder.icmp_signed("<", text, _same(0))
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
