"""Small core modules for which the engine's compiler needs much time or memory."""

from __future__ import annotations

I32, LOOP, END, BR_IF, CALL, DROP = b"\x7f", b"\x03", b"\x0b", b"\x0d\0", b"\x10", b"\x1a"


def leb(number: int) -> bytes:
    """A number in unsigned LEB128, as in WebAssembly's binary format."""
    encoded = b""
    while True:
        number, low = number >> 7, number & 0x7F
        encoded += bytes([low | (0x80 if number else 0)])
        if not number:
            return encoded


def section(number: int, content: bytes) -> bytes:
    """A section of a module."""
    return bytes([number]) + leb(len(content)) + content


def module(types: list[bytes], functions: list[bytes]) -> bytes:
    """A module with these types and functions (local variables and code). All functions have the first type; the first
    is `_start`."""
    code = leb(len(functions)) + b"".join(leb(len(function)) + function for function in functions)
    return (
        b"\0asm\x01\0\0\0"
        + section(1, leb(len(types)) + b"".join(types))
        + section(3, leb(len(functions)) + b"\0" * len(functions))
        + section(7, b"\x01\x06_start\0\0")
        + section(10, code)
    )


def nested_loops(depth: int) -> bytes:
    """Nested loops, with one variable each that the loop changes. The time to compile grows with the third power of the
    depth: 54 seconds were measured for 2,000."""
    enter = b"".join(LOOP + b"\x40\x20" + leb(n) + b"\x41\x01\x6a\x21" + leb(n) for n in range(depth))
    leave = b"".join(b"\x20" + leb(n) + BR_IF + END for n in range(depth))
    return module([b"\x60\0\0"], [b"\x01" + leb(depth) + I32 + enter + leave + END])


def loops_with_many_values(depth: int, values: int) -> bytes:
    """Nested loops with many parameters. The memory to compile grows with the square of the depth: gigabytes were
    measured for 500 loops and 1,000 values."""
    many = I32 * values
    types = [b"\x60\0\0", b"\x60" + leb(values) + many + leb(values) + many]
    body = b"\x41\0" * values + (LOOP + b"\x01") * depth + (b"\x41\0" + BR_IF + END) * depth + DROP * values + END
    return module(types, [b"\0" + body])


def many_variables(functions: int, variables: int) -> bytes:
    """Functions of a few bytes, each with many unused variables."""
    return module([b"\x60\0\0"], [b"\x01" + leb(variables) + I32 + END] * functions)


LARGE = module([b"\x60\0\0"], [b"\0" + b"\x41\x01\x1a" * 20_000 + b"\x0b"])
