"""Hostile PyTorch models. Models with harmful code are in `test_pytorch`."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from functools import cache
from typing import Any

import torch
from hostile import HARMLESS, INVALID, RUNTIME, SECURITY, Scene, corpus, fails, isolated_only, made, refused
from pytorch_models import Relu, Saves, SavesOnLoad, export, script, tampered, with_program


@cache
def torchscript() -> bytes:
    return script(torch.nn.Linear(4, 4))


@cache
def exported() -> bytes:
    return export(torch.nn.Linear(4, 4), torch.ones(4))


class Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return (os.system, (self.command,))


def pickled(scene: Scene, protocol: int = 2) -> bytes:
    """A pickle that makes a file."""
    return pickle.dumps(Runs(f"touch {scene.folder}/pickled"), protocol)


def with_entry(model: bytes, name: str, content: bytes) -> bytes:
    return tampered(model, {name: content})


def renamed(model: bytes, old: str, new: str) -> bytes:
    """The same archive with an entry of another name."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(model)) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            target.writestr(new if name.endswith(old) else name, source.read(name))
    return made.getvalue()


def bomb(model: bytes, count: int, size: int) -> bytes:
    """An archive with `count` additional entries that are all zeros."""
    made = io.BytesIO(model)
    with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED) as archive:
        root = archive.namelist()[0].partition("/")[0]
        for number in range(count):
            archive.writestr(f"{root}/zeros/{number}", bytes(size))
    return made.getvalue()


def overlapping(model: bytes, count: int) -> bytes:
    """An archive with so many additional entries, which all consist of the same bytes of the file."""
    end = model.rindex(b"PK\x05\x06")
    entries, size, start = struct.unpack_from("<HII", model, end + 10)
    directory = model[start : start + size]
    name_size, extra_size, comment_size = struct.unpack_from("<HHH", directory, 28)
    first = directory[: 46 + name_size + extra_size + comment_size]
    more = b"".join(
        first[:46] + f"a/{number:08}".encode().rjust(name_size, b"a")[:name_size] + first[46 + name_size :]
        for number in range(count)
    )
    total = min(entries + count, 65535)
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, total, total, size + len(more), start, 0)
    return model[:start] + directory + more + tail


def in_directory(model: bytes, name: str) -> int:
    """The place, in an archive's directory, of the entry whose name ends with `name`."""
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        whole = next(it for it in archive.namelist() if it.endswith(name))
    at = model.rindex(whole.encode()) - 46
    assert model[at : at + 4] == b"PK\x01\x02"
    return at


def with_size(model: bytes, name: str, size: int) -> bytes:
    """An archive whose directory declares this size for an entry."""
    at = in_directory(model, name)
    return model[: at + 20] + struct.pack("<II", size, size) + model[at + 28 :]


def with_place(model: bytes, name: str, place: int) -> bytes:
    """An archive whose directory declares this place for an entry."""
    at = in_directory(model, name)
    return model[: at + 42] + struct.pack("<I", place) + model[at + 46 :]


def with_end(model: bytes, entries: int, size: int, start: int) -> bytes:
    """An archive whose end record has these numbers about its directory."""
    end = model.rindex(b"PK\x05\x06")
    return model[:end] + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, entries, entries, size, start, 0)


def with_end_64(model: bytes, entries: int, size: int, start: int) -> bytes:
    """An archive whose 64-bit end record has these numbers about its directory."""
    end = model.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 65535, 65535, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return model[:end] + record + locator + tail


def with_code(body: str) -> bytes:
    """A TorchScript archive with `body` as its `forward(self, x)`."""
    return tampered(
        script(Relu()), {"pytorch_models.py": lambda old: old.replace(b"    return torch.relu(x)", body.encode())}
    )


def deep_code(before: str, after: str, depth: int) -> bytes:
    """Code with an expression that is nested so deep."""
    return with_code(f"    return {before * depth}x{after * depth}")


def nested_ifs(depth: int) -> bytes:
    lines = [f"{'  ' * (level + 2)}if bool(torch.any(x)):" for level in range(depth)]
    return with_code("\n".join([*lines, "  " * (depth + 2) + "x = x", "    return x"]))


def with_strides(*numbers: int) -> bytes:
    """An exported program that declares these dims for its weights, with strides of 1."""

    def change(config: bytes) -> bytes:
        described = json.loads(config)
        for weight in described["config"].values():
            meta = weight["tensor_meta"]
            meta["sizes"] = [{"as_int": number} for number in numbers]
            meta["strides"] = [{"as_int": 1} for _ in numbers]
        return json.dumps(described).encode()

    return tampered(exported(), {"model_weights_config.json": change})


def with_offset(offset: int) -> bytes:
    """An exported program that declares this storage offset for its weights."""

    def change(config: bytes) -> bytes:
        described = json.loads(config)
        for weight in described["config"].values():
            weight["tensor_meta"]["storage_offset"] = {"as_int": offset}
        return json.dumps(described).encode()

    return tampered(exported(), {"model_weights_config.json": change})


def with_path(path: str) -> bytes:
    """An exported program that declares this file for its weights."""

    def change(config: bytes) -> bytes:
        described = json.loads(config)
        for weight in described["config"].values():
            weight["path_name"] = path
        return json.dumps(described).encode()

    return tampered(exported(), {"model_weights_config.json": change})


def with_dims(size: int) -> bytes:
    """An exported program that declares dims of this size for its tensors."""

    def change(program: Any) -> None:
        for tensor in program["graph_module"]["graph"]["tensor_values"].values():
            tensor["sizes"] = [{"as_int": size}]

    return with_program(exported(), change)


def storage(count: int) -> bytes:
    """A TorchScript archive that declares so many numbers for its weights."""
    model = torchscript()

    def change(data: bytes) -> bytes:
        at = data.index(b"K\x10t")
        return data[:at] + b"\x8a\x08" + count.to_bytes(8, "little", signed=True) + data[at + 2 :]

    return tampered(model, {"/data.pkl": change})


def checkpoint(scene: Scene, new: bool) -> bytes:
    """A checkpoint with an object that makes a file."""
    made = io.BytesIO()
    torch.save({"weight": Runs(f"touch {scene.folder}/pickled")}, made, _use_new_zipfile_serialization=new)
    return made.getvalue()


MODELS = corpus(
    "pytorch",
    {
        refused(SECURITY): [
            (
                "a command in an exported program's sample inputs",
                lambda scene: with_entry(exported(), "data/sample_inputs/model.pt", pickled(scene)),
            ),
            (
                "a command in an exported program's constants",
                lambda scene: with_entry(exported(), "data/constants/evil.pt", pickled(scene)),
            ),
            (
                "native code in an exported program",
                lambda _: with_entry(exported(), "data/aotinductor/model/evil.so", b"\x7fELF"),
            ),
            ("weights in a file of the host's", lambda scene: with_path(str(scene.canary))),
            ("weights in a file above the archive", lambda scene: with_path("../../weights.bin")),
            ("a file that is written", lambda scene: script(Saves(f"{scene.folder}/written"))),
            ("a file that is written while it is loaded", lambda scene: script(SavesOnLoad(f"{scene.folder}/written"))),
            made("zeros of 100 MB in some kB", bomb, torchscript(), 1, 100 << 20),
            made("zeros of 10 MB, 5 times", bomb, torchscript(), 5, 10 << 20),
            made("an entry that says it has 4 GB", with_size, torchscript(), "/data.pkl", 0xFFFFFFF0),
            made("weights that say they have 4 GB", with_size, torchscript(), "/data/0", 0xFFFFFFF0),
            made("storage of 2^40 numbers", storage, 1 << 40),
            made("storage of -1 numbers", storage, -1),
            made("storage of dims that overflow", storage, 1 << 62),
            made("calls of depth 10,000", deep_code, "torch.relu(", ")", 10_000),
            made("a sum of 100,000 numbers", deep_code, "", " + x", 100_000),
            made("a sum of 100,000 pairs", deep_code, "torch.add(x, x) + ", "", 100_000),
            made("100,000 signs", deep_code, "-", "", 100_000),
            made("a name of 100,000 parts", deep_code, "", ".x", 100_000),
            made("a place in a place, 100,000 times", deep_code, "", "[0]", 100_000),
            made("a choice in a choice, 100,000 times", deep_code, "x if True else ", "", 100_000),
            made("blocks of depth 5,000", nested_ifs, 5_000),
            made("100,000 brackets that are never closed", deep_code, "(", "", 100_000),
        ],
        refused(INVALID): [
            ("two builders", lambda _: [torchscript(), torchscript()]),
        ],
        refused(RUNTIME): [
            ("a command in data.pkl", lambda scene: with_entry(torchscript(), "/data.pkl", pickled(scene))),
            ("a command in constants.pkl", lambda scene: with_entry(torchscript(), "constants.pkl", pickled(scene))),
            ("a command in a pickle of its own", lambda scene: pickled(scene)),
            ("a command in a checkpoint", lambda scene: checkpoint(scene, True)),
            ("a command in an old checkpoint", lambda scene: checkpoint(scene, False)),
            (
                "a command in an exported program's weights, of another size",
                lambda scene: with_entry(exported(), "data/weights/weight_0", pickled(scene).ljust(4097, b"\0")),
            ),
            (
                "a command in an exported program's extra files",
                lambda scene: with_entry(exported(), "extra/evil.pkl", pickled(scene)),
            ),
            ("an entry by a whole path", lambda scene: renamed(torchscript(), "/version", f"{scene.folder}/escaped")),
            ("an entry whose name is 60,000 bytes long", lambda _: with_entry(torchscript(), "n" * 60_000, b"x")),
            made("20,000 entries that are the same bytes", overlapping, torchscript(), 20_000),
            made("an entry that says it has nothing", with_size, torchscript(), "/data.pkl", 0),
            made("an entry after the end of the file", with_place, torchscript(), "/data.pkl", 0xFFFFFFF0),
            made("an entry that begins in another one", with_place, torchscript(), "/data.pkl", 10),
            made("a directory of 4 GB", with_end, torchscript(), 65535, 0xFFFFFFF0, 0),
            made("a directory of 2^60 entries", with_end_64, torchscript(), 1 << 60, 1 << 60, 0),
            made("a directory at a place that overflows", with_end_64, torchscript(), 5, 100, (1 << 64) - 50),
            made("code that isn't any", with_code, "    return ]]]"),
            made("a program whose weights are of 2^40 numbers", with_strides, 1 << 40),
            made("a program whose weights are of -1 numbers", with_strides, -1),
            made("a program whose weights have dims that overflow", with_strides, 1 << 32, 1 << 32, 4),
            made("a program whose weights begin after their end", with_offset, 1 << 40),
            made("a program whose weights begin before them", with_offset, -(1 << 20)),
            made("a program whose tensors are of 2^60 numbers", with_dims, 1 << 60),
            made("a program whose tensors are of -4 numbers", with_dims, -4),
            made(
                "a program without its description", renamed, exported(), "models/model.json", "model/models/none.json"
            ),
            ("a program whose description isn't JSON", lambda _: with_entry(exported(), "models/model.json", b"{")),
            (
                "a program whose description is deep",
                lambda _: with_entry(exported(), "models/model.json", b"[" * 100_000),
            ),
            (
                "a program whose description is another thing",
                lambda _: with_entry(exported(), "models/model.json", b"[1, 2]"),
            ),
            (
                "a program whose weights are described by a list",
                lambda _: with_entry(exported(), "model_weights_config.json", b"[]"),
            ),
        ],
        fails(RUNTIME): [
            made("numbers of 2^40 made when it is run", with_code, f"    return torch.zeros([{1 << 40}])"),
            made("numbers of dims that overflow", with_code, f"    return torch.zeros([{1 << 32}, {1 << 32}, 4])"),
            made("a view after the end of its memory", with_code, "    return torch.as_strided(x, [4], [1], 1000000)"),
            made("a view before its memory", with_code, "    return torch.as_strided(x, [4], [1], -1000000)"),
            made(
                "a place before a tensor",
                with_code,
                "    return torch.gather(x, 0, torch.add(torch.zeros([4], dtype=4), -1000000))",
            ),
        ],
        HARMLESS: [
            (
                "a command in an exported program's weights",
                lambda scene: with_entry(exported(), "data/weights/weight_0", pickled(scene).ljust(4096, b"\0")),
            ),
            ("a command in attributes.pkl", lambda scene: with_entry(torchscript(), "attributes.pkl", pickled(scene))),
            (
                "a command in what is for debuggers",
                lambda scene: with_entry(torchscript(), ".debug_pkl", pickled(scene)),
            ),
            ("an entry that leads out of the archive", lambda _: with_entry(torchscript(), "../../escaped", b"x")),
            made("20,000 entries", bomb, torchscript(), 20_000, 0),
            made("a directory that begins after the end", with_end, torchscript(), 5, 100, 0xFFFFFFF0),
            made("calls of depth 240", deep_code, "torch.relu(", ")", 240),
            made("blocks of depth 150", nested_ifs, 150),
        ],
        isolated_only("torch can't be stopped", endless=True): [
            made("a loop without end", with_code, "    while True:\n      x = torch.relu(x)\n    return x"),
        ],
    },
)
