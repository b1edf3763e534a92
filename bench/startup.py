"""The time of `wasi-nn run` with a cached guest and a tiny model, as a ratio to importing the two packages it needs.

Each command is a separate process. Byte code is compiled beforehand, as an installer does.
"""

from __future__ import annotations

import compileall
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import core_guest
import onnx_models

import wasi_nn
from bench.ratios import best, ratio, side_by_side

WASI_NN = Path(sys.executable).with_name("wasi-nn")
COMPONENT = Path(__file__).parent.parent / "guests" / "component" / "infer.wasm"
INFER = """
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (data (i32.const 1024) "net") (data (i32.const 128) "\\04\\00\\00\\00")
    (data (i32.const 64) "\\80\\00\\00\\00\\01\\00\\00\\00\\01\\00\\00\\00\\00\\02\\00\\00\\10\\00\\00\\00")
    (func (export "_start") (local $errno i32)
      (local.set $errno (call $load_by_name (i32.const 1024) (i32.const 3) (i32.const 8)))
      (local.set $errno (i32.or (local.get $errno)
        (call $init_execution_context (i32.load (i32.const 8)) (i32.const 12))))
      (local.set $errno (i32.or (local.get $errno)
        (call $set_input (i32.load (i32.const 12)) (i32.const 0) (i32.const 64))))
      (local.set $errno (i32.or (local.get $errno) (call $compute (i32.load (i32.const 12)))))
      (local.set $errno (i32.or (local.get $errno)
        (call $get_output (i32.load (i32.const 12)) (i32.const 0) (i32.const 512) (i32.const 16) (i32.const 8))))
      (call $exit (local.get $errno)))"""


def main() -> None:
    """Print the table."""
    compileall.compile_dir(str(Path(wasi_nn.__file__).parent), quiet=1)
    with tempfile.TemporaryDirectory() as folder:
        guest, model = Path(folder, "guest.wat"), Path(folder, "net.onnx")
        text = core_guest.wat(rest=INFER)
        exit_import = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
        guest.write_text("(module " + exit_import + text.replace(exit_import, "").removeprefix("(module"))
        model.write_bytes(onnx_models.relu())
        run_net = [WASI_NN, "run", "--graph", f"net={model}"]
        commands = {
            "python -c 'import onnxruntime, wasmtime'": [sys.executable, "-c", "import onnxruntime, wasmtime"],
            "wasi-nn run": [*run_net, guest],
            "wasi-nn run, a component": [*run_net, COMPONENT, "--graph", "net", "x=FP32:4:1"],
            "wasi-nn --help": [WASI_NN, "--help"],
        }
        run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
        times = side_by_side({name: partial(run, command) for name, command in commands.items()}, rounds=30)
    base = next(iter(times.values()))
    print("\n| command | time | ratio |\n|---|---|---|")
    for name, taken in times.items():
        print(f"| `{name}` | {1e3 * best(taken):.0f} ms | {ratio(taken, base)} |")


if __name__ == "__main__":
    main()
