"""Two frameworks that are compiled to WebAssembly: ONNX Runtime for the web, from npm, and ncnn, which is built here.

All of it goes into `build/compiled`. The build of ncnn takes some minutes: Zig compiles the layers that the network
has, with WebAssembly's SIMD. ncnn has no kernels for WebAssembly of its own, so the compiler vectorizes its plain C++.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

import models as real_models

FOLDER = real_models.BUILD / "compiled"
SOURCES = Path(__file__).with_name("compiled")
ONNXRUNTIME_WEB = "onnxruntime-web@1.30.0"
NCNN = "ncnn-1.0.20261020.tar.gz"
NCNN_SHA256 = "ad8cdd63e9755cfa8e23b9b6d9ce46156077d80298a89e7c3ba325ffccfca200"
TOOLS = ("cmake==4.4.5", "ninja==1.13.2", "pnnx==20261020")

_LAYERS = {
    *("binaryop", "cast", "clip", "convolution", "convolutiondepthwise", "crop", "flatten", "innerproduct", "input"),
    *("packing", "padding", "pooling", "relu", "sigmoid", "split"),
}
"""The layers of the network, and those that these layers use."""
_WITHOUT = (
    *("AVX", "AVX2", "AVX512", "BF16", "BUILD_BENCHMARK", "BUILD_EXAMPLES", "BUILD_TOOLS", "INT8"),
    *("OPENMP", "PIXEL", "RUNTIME_CPU", "SSE2", "THREADS", "VULKAN"),
)


def onnxruntime_web() -> Path:
    """The program for Node that runs ONNX Runtime's WebAssembly, with its package beside it."""
    if shutil.which("npm") is None:
        sys.exit("bench.compiled_framework needs Node and npm: apt-get install nodejs npm")
    folder = FOLDER / ONNXRUNTIME_WEB
    if not (folder / "node_modules" / "onnxruntime-web").is_dir():
        subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), ONNXRUNTIME_WEB], check=True)
    program = folder / "onnxruntime_web.cjs"
    shutil.copy(SOURCES / program.name, program)
    return program


def ncnn(model: Path) -> tuple[Path, Path]:
    """A guest with ncnn inside, and a folder with the network of an ONNX model in ncnn's form."""
    guest, network = FOLDER / "ncnn.wasm", FOLDER / "network"
    tools = FOLDER / "tools"
    if not tools.is_dir():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", str(tools), *TOOLS], check=True)
    if not (network / "network.bin").exists():
        _convert(model, network, tools / "pnnx" / "pnnx")
    if not guest.exists():
        _build(guest, tools)
    return guest, network


def _convert(model: Path, network: Path, pnnx: Path) -> None:
    """Convert an ONNX model by ncnn's converter, with the weights as float32."""
    network.mkdir(parents=True, exist_ok=True)
    pnnx.chmod(0o755)
    shutil.copy(model, network / "model.onnx")
    command = [str(pnnx), "model.onnx", "inputshape=[1,3,224,224]", "fp16=0"]
    subprocess.run(command, cwd=network, check=True, capture_output=True)
    for ending in ("param", "bin"):
        (network / f"model.ncnn.{ending}").rename(network / f"network.{ending}")


def _build(guest: Path, tools: Path) -> None:
    source = _source()
    build, programs = FOLDER / "ncnn", FOLDER / "zig"
    programs.mkdir(exist_ok=True)
    for name in ("cc", "c++", "ar", "ranlib"):
        program = programs / name
        flags = " --target=wasm32-wasi -msimd128" if name in ("cc", "c++") else ""
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang {name}{flags} "$@"\n')
        program.chmod(0o755)
    cmake, ninja = tools / "cmake" / "data" / "bin" / "cmake", tools / "bin" / "ninja"
    for tool in (cmake, ninja):
        tool.chmod(0o755)
    layers = {path.stem for path in (source / "src" / "layer").glob("*.h")}
    settings = [f"NCNN_{name}=OFF" for name in _WITHOUT]
    settings += [f"WITH_LAYER_{name}=OFF" for name in sorted(layers - _LAYERS)]
    settings += ["NCNN_DISABLE_RTTI=ON", "NCNN_DISABLE_EXCEPTION=ON", "CMAKE_BUILD_TYPE=Release"]
    settings += [f"TOOLS={programs}", f"CMAKE_TOOLCHAIN_FILE={SOURCES / 'wasi.cmake'}", f"CMAKE_MAKE_PROGRAM={ninja}"]
    configure = [str(cmake), "-S", str(source), "-B", str(build), "-G", "Ninja", *(f"-D{it}" for it in settings)]
    for command in (configure, [str(ninja), "-C", str(build), "ncnn"]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"ncnn can't be built: {(done.stderr or done.stdout)[-2000:]}")
    library = build / "src" / "libncnn.a"
    folders = ["-I", str(source / "src"), "-I", str(build / "src")]
    compiler = [str(programs / "c++"), "-O3", "-s", "-fno-exceptions", "-fno-rtti", *folders]
    subprocess.run([*compiler, str(SOURCES / "ncnn_guest.cpp"), str(library), "-o", str(guest)], check=True)


def _source() -> Path:
    """ncnn's sources, from its package on PyPI. pip can't install them: they take the day of the build as
    their version, which pip refuses as that of another release."""
    folder = FOLDER / NCNN.removesuffix(".tar.gz")
    if folder.is_dir():
        return folder
    from pip._internal.models.index import PyPI

    asked = urllib.request.Request(
        f"{PyPI.simple_url}/ncnn/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        address = next(file["url"] for file in json.load(answer)["files"] if file["filename"] == NCNN)
    with urllib.request.urlopen(address, timeout=60) as answer:
        content = answer.read()
    if hashlib.sha256(content).hexdigest() != NCNN_SHA256:
        sys.exit(f"{NCNN} isn't the file that was built before")
    archive = FOLDER / NCNN
    archive.write_bytes(content)
    with tarfile.open(archive) as opened:
        opened.extractall(FOLDER)  # its content is pinned
    return folder
