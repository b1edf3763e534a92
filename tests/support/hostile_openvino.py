"""Hostile models in OpenVINO's own format."""

from __future__ import annotations

from typing import Any

from hostile import HARMLESS, INVALID, RUNTIME, corpus, made, refused

HUGE = 1 << 40

WEIGHTS = bytes(64)
I64 = ' precision="I64"'


def port(number: int, *dims: int, kind: str = ' precision="FP32"') -> str:
    return f'<port id="{number}"{kind}>' + "".join(f"<dim>{dim}</dim>" for dim in dims) + "</port>"


def layer(number: int, kind: str, inside: str, version: str = "opset1", name: str = "") -> str:
    return f'<layer id="{number}" name="{name or f"l{number}"}" type="{kind}" version="{version}">{inside}</layer>'


def parameter(number: int, *dims: int, element: str = "f32", shape: str = "") -> str:
    data = f'<data element_type="{element}" shape="{shape or ",".join(map(str, dims))}"/>'
    return layer(number, "Parameter", f"{data}<output>{port(0, *dims)}</output>")


def constant(number: int, *dims: int, offset: int = 0, size: int = 64, element: str = "f32", shape: str = "") -> str:
    data = (
        f'<data element_type="{element}" shape="{shape or ",".join(map(str, dims))}" offset="{offset}" size="{size}"/>'
    )
    return layer(number, "Const", f"{data}<output>{port(0, *dims)}</output>")


def operation(number: int, kind: str, inputs: int, *dims: int, data: str = "", version: str = "opset1") -> str:
    ports = "".join(port(place, *dims) for place in range(inputs))
    return layer(number, kind, f"{data}<input>{ports}</input><output>{port(inputs, *dims)}</output>", version)


def result(number: int, *dims: int) -> str:
    return layer(number, "Result", f"<input>{port(0, *dims)}</input>")


def edges(*ends: tuple[int, int, int, int]) -> str:
    return (
        "<edges>"
        + "".join(f'<edge from-layer="{a}" from-port="{b}" to-layer="{c}" to-port="{d}"/>' for a, b, c, d in ends)
        + "</edges>"
    )


def network(layers: str, *ends: tuple[int, int, int, int], before: str = "", after: str = "") -> bytes:
    return (
        f'<?xml version="1.0"?>{before}<net name="n" version="11"><layers>{layers}</layers>{edges(*ends)}{after}</net>'
    ).encode()


def relu(
    *dims: int, data: str = "", kind: str = "ReLU", version: str = "opset1", before: str = "", after: str = ""
) -> bytes:
    """y = max(x, 0), or another operation on x."""
    dims = dims or (4,)
    layers = parameter(0, *dims) + operation(1, kind, 1, *dims, data=data, version=version) + result(2, *dims)
    return network(layers, (0, 0, 1, 0), (1, 1, 2, 0), before=before, after=after)


def adding(weights: str, *dims: int) -> list[bytes]:
    """y = x + weights."""
    dims = dims or (16,)
    layers = parameter(0, *dims) + weights + operation(2, "Add", 2, *dims, data='<data auto_broadcast="numpy"/>')
    return [network(layers + result(3, *dims), (0, 0, 2, 0), (1, 0, 2, 1), (2, 2, 3, 0)), WEIGHTS]


def with_weights(*dims: int, **more: Any) -> list[bytes]:
    """y = x + weights that declare these dims; `more` changes other parts of their declaration (see `constant`)."""
    return adding(constant(1, *(dims or (16,)), **more))


def taking(element: str, shape: str) -> bytes:
    """y = x, with this text as element type and as dims."""
    layers = parameter(0, 4, element=element, shape=shape) + result(1, 4)
    return network(layers, (0, 0, 1, 0))


def laughing(depth: int) -> bytes:
    """XML entities that each consist of ten others."""
    entities = '<!ENTITY e0 "ha">' + "".join(
        f'<!ENTITY e{place} "{f"&e{place - 1};" * 10}">' for place in range(1, depth)
    )
    return relu(before=f"<!DOCTYPE net [{entities}]>").replace(b'name="n"', f'name="&e{depth - 1};"'.encode())


def with_entity(target: str) -> bytes:
    """A name that an XML entity takes from the content of a file."""
    before = f'<!DOCTYPE net [<!ENTITY secret SYSTEM "{target}">]>'
    return relu(before=before).replace(b'name="n"', b'name="&secret;"').replace(b"<edges>", b"&secret;<edges>")


def with_inclusion(target: str) -> bytes:
    return relu(after=f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" parse="text" href="{target}"/>')


def with_parameter_entity(target: str) -> bytes:
    return relu(before=f'<!DOCTYPE net SYSTEM "{target}" [<!ENTITY % all SYSTEM "{target}"> %all;]>')


def cyclic() -> bytes:
    """a is computed from b, and b from a."""
    layers = parameter(0, 4) + operation(1, "ReLU", 1, 4) + operation(2, "ReLU", 1, 4) + result(3, 4)
    return network(layers, (2, 1, 1, 0), (1, 1, 2, 0), (2, 1, 3, 0))


def itself() -> bytes:
    return network(parameter(0, 4) + operation(1, "ReLU", 1, 4) + result(2, 4), (1, 1, 1, 0), (1, 1, 2, 0))


def long_chain(count: int) -> bytes:
    """A chain of operations."""
    layers = parameter(0, 4) + "".join(operation(number, "ReLU", 1, 4) for number in range(1, count)) + result(count, 4)
    return network(layers, *((n, 1 if n else 0, n + 1, 0) for n in range(count)))


def deep_xml(depth: int) -> bytes:
    return relu(after="<a>" * depth + "</a>" * depth)


def nested_loops(depth: int) -> bytes:
    """A TensorIterator in the body of a TensorIterator, and so on."""
    layers, ends = parameter(0, 4) + operation(1, "ReLU", 1, 4) + result(2, 4), edges((0, 0, 1, 0), (1, 1, 2, 0))
    maps = (
        '<port_map><input external_port_id="0" internal_layer_id="0"/>'
        '<output external_port_id="1" internal_layer_id="2"/></port_map>'
    )
    for _ in range(depth):
        body = f"<body><layers>{layers}</layers>{ends}</body>"
        inside = f"<input>{port(0, 4)}</input><output>{port(1, 4)}</output>{maps}{body}"
        layers = parameter(0, 4) + layer(1, "TensorIterator", inside) + result(2, 4)
    return f'<?xml version="1.0"?><net name="n" version="11"><layers>{layers}</layers>{ends}</net>'.encode()


def filled(*dims: int) -> list[bytes]:
    """y = x, broadcast to the dims in a constant."""
    numbers = b"".join(dim.to_bytes(8, "little", signed=True) for dim in dims)
    data = f'<data element_type="i64" shape="{len(dims)}" offset="0" size="{len(numbers)}"/>'
    ports = f"<input>{port(0, 1)}{port(1, len(dims), kind=I64)}</input><output>{port(2, *dims)}</output>"
    layers = (
        parameter(0, 1)
        + layer(1, "Const", f"{data}<output>{port(0, len(dims), kind=I64)}</output>")
        + layer(2, "Broadcast", f'<data mode="numpy"/>{ports}', "opset3")
        + result(3, *dims)
    )
    return [network(layers, (0, 0, 2, 0), (1, 0, 2, 1), (2, 2, 3, 0)), numbers]


def gathering(index: int) -> list[bytes]:
    """A Gather with an index outside of its tensor."""
    layers = (
        parameter(0, 4)
        + layer(
            1,
            "Const",
            f'<data element_type="i64" shape="1" offset="0" size="8"/><output>{port(0, 1, kind=I64)}</output>',
        )
        + layer(
            2, "Const", f'<data element_type="i64" shape="" offset="8" size="8"/><output>{port(0, kind=I64)}</output>'
        )
        + layer(
            3,
            "Gather",
            f'<data batch_dims="0"/><input>{port(0, 4)}{port(1, 1, kind=I64)}{port(2, kind=I64)}</input>'
            f"<output>{port(3, 1)}</output>",
            "opset8",
        )
        + result(4, 1)
    )
    numbers = index.to_bytes(8, "little", signed=True) + bytes(8)
    return [network(layers, (0, 0, 3, 0), (1, 0, 3, 1), (2, 0, 3, 2), (3, 3, 4, 0)), numbers]


def strings(offset: int, size: int) -> list[bytes]:
    """A constant of strings; the weights contain the strings' lengths."""
    numbers = b"".join(n.to_bytes(4, "little") for n in (1 << 31, 0, 1 << 31))
    layers = constant(0, 1, element="string", offset=offset, size=size) + result(1, 1)
    return [network(layers, (0, 0, 1, 0)), numbers + bytes(16)]


MODELS = corpus(
    "openvino",
    {
        refused(INVALID): [
            ("three builders", lambda _: [relu(), b"", b""]),
        ],
        refused(RUNTIME): [
            made("weights after the end of the .bin", with_weights, offset=HUGE),
            made("weights over the end of the .bin", with_weights, offset=32),
            made("weights at a place that overflows", with_weights, offset=(1 << 64) - 32),
            made("weights before the .bin", with_weights, offset=-64),
            made("weights of a size that overflows", with_weights, offset=64, size=(1 << 64) - 64),
            made("weights of 2^40 numbers", with_weights, HUGE, size=4 * HUGE),
            made("weights of 2^40 numbers in 64 bytes", with_weights, HUGE, size=64),
            made("weights of dims that overflow", with_weights, 1 << 32, 1 << 32, 4, size=64),
            made("weights of a negative dim", with_weights, -16),
            made("weights of a type that doesn't exist", with_weights, 16, element="f31"),
            made("weights of 4 bits", with_weights, 128, element="u4"),
            made("weights of 1 bit for 2^60 numbers", with_weights, 1 << 60, element="u1", size=(1 << 57)),
            ("weights without a .bin", lambda _: with_weights()[:1]),
            ("weights with an empty .bin", lambda _: [with_weights()[0], b""]),
            made("strings whose lengths are absurd", strings, 0, 28),
            made("strings after the end of the .bin", strings, 20, 1000),
            made(
                "a library that is to be loaded",
                relu,
                kind="Evil",
                data='<data library="/tmp/evil.so"/>',
                version="extension",
            ),
            made("an operation that doesn't exist", relu, kind="Evil"),
            made("an operation set that doesn't exist", relu, version="opset99"),
            made("an operation with a name of 1 MB", relu, kind="E" * 1_000_000),
            made("a graph that goes in a circle", cyclic),
            made("an operation on itself", itself),
            made("an edge to a layer that isn't there", network, parameter(0, 4) + result(1, 4), (0, 0, 7, 0)),
            made("an edge to a port that isn't there", network, parameter(0, 4) + result(1, 4), (0, 9, 1, 9)),
            made("an edge of negative numbers", network, parameter(0, 4) + result(1, 4), (-1, -1, -1, -1)),
            made("no edges", network, parameter(0, 4) + result(1, 4)),
            made("a result that nothing makes", network, result(0, 4)),
            made("an input of 2^60 numbers", taking, "f32", str(1 << 60)),
            made("an input of dims that overflow", taking, "f32", f"{1 << 32},{1 << 32},4"),
            made("an input of dims that aren't numbers", taking, "f32", "a,b"),
            made("an input of a type that doesn't exist", taking, "f31", "4"),
            made("an input of no type", taking, "", "4"),
            made("2^40 numbers made when it is run", filled, HUGE),
            made("numbers of dims that overflow made when it is run", filled, 1 << 32, 1 << 32, 4),
            made("numbers of a negative dim made when it is run", filled, -4),
            made("loops of depth 10", nested_loops, 10),
            made("loops of depth 2,000", nested_loops, 2_000),
            made("XML that ends early", lambda: relu()[:-20]),
            made("a version from the future", lambda: relu().replace(b'version="11"', b'version="999999999999"')),
        ],
        HARMLESS: [
            ("an entity that is a file", lambda scene: with_entity(f"file://{scene.canary}")),
            ("an entity that is a file beside it", lambda scene: with_entity("weights.bin")),
            ("an entity that is the environment", lambda scene: with_entity("file:///proc/self/environ")),
            ("a definition in a file", lambda scene: with_parameter_entity(str(scene.canary))),
            ("a file that is included", lambda scene: with_inclusion(str(scene.canary))),
            made("entities of 10^9 words", laughing, 10),
            ("weights in a file by its name", lambda scene: [relu(data=f'<data path="{scene.canary}"/>'), WEIGHTS]),
            made("two layers of one number", network, parameter(0, 4) + parameter(0, 4) + result(1, 4), (0, 0, 1, 0)),
            made("no layers", network, ""),
            made("an input of a negative dim", taking, "f32", "-4"),
            made("an input of a dim of 10^40", taking, "f32", "1" + "0" * 40),
            made("a place before a tensor", gathering, -(1 << 40)),
            made("a place after a tensor", gathering, 1 << 40),
            made("a chain of 300 operations", long_chain, 300),
            made("XML of depth 100,000", deep_xml, 100_000),
            made("XML in another encoding", lambda: relu().decode().encode("utf-16")),
        ],
    },
)
