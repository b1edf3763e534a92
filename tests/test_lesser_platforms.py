"""Isolation on platforms that lack a kernel feature: it works as documented there, or is refused with the reason.

Each test takes the feature away from a process, and isolates a graph in that process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from classifiers import classifier

# A user namespace in which no other can be made: in some containers, the kernel allows none.
_NO_NAMESPACES = """
    import ctypes, os
    user, group = os.getuid(), os.getgid()
    assert ctypes.CDLL(None).unshare(0x10000000) == 0
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        open(f"/proc/self/{name}", "w").write(text)
    open("/proc/sys/user/max_user_namespaces", "w").write("0")
"""
# System calls fail with ENOSYS, as on kernels without them.
_NO_CALL = """
    import errno, pyseccomp
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    {rule}
    rules.load()
"""
_NO_UNSHARE = _NO_CALL.format(rule="rules.add_rule(pyseccomp.ERRNO(errno.EPERM), 'unshare')")
_NO_LANDLOCK = _NO_CALL.format(rule="rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), 'landlock_create_ruleset')")
_NO_FILTERS = _NO_CALL.format(
    rule="""rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "seccomp")
    rules.add_rule(pyseccomp.ERRNO(errno.EINVAL), "prctl", pyseccomp.Arg(0, pyseccomp.EQ, 22))"""
)
_NO_SECCOMP = """
    import ctypes.util, sys
    ctypes.util.find_library = lambda name: None
    sys.modules.pop("pyseccomp", None)
"""


pytestmark = pytest.mark.usefixtures("isolation")


def output_of(lack: str, program: str) -> str:
    """The output of a program in a process without the kernel feature."""
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), *filter(None, sys.path)])}
    text = textwrap.dedent(lack) + textwrap.dedent(program)
    ended = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


_TRIES = """
    import numpy, wasi_nn, onnx_models
    try:
        graph = wasi_nn.load(onnx_models.relu(), rules=wasi_nn.LoadRules(isolate=True))
        print(graph.compute({"x": numpy.array([-1, 2, -3, 4], "float32")})["y"].tolist())
    except wasi_nn.NNError as error:
        print(error.code.value, error.message)
"""


class TestWithoutUserNamespaces:
    @pytest.mark.parametrize("lack", [_NO_NAMESPACES, _NO_UNSHARE])
    def test_graphs_are_isolated(self, lack: str) -> None:
        assert output_of(lack, _TRIES) == "[0.0, 2.0, 0.0, 4.0]\n"

    def test_a_worker_can_do_no_more(self) -> None:
        output = output_of(
            _NO_NAMESPACES,
            """
            from isolated_programs import outcome_of
            for statement in (
                "socket.socket(socket.AF_INET)",
                "socket.socket(socket.AF_UNIX)",
                "open('/etc/passwd')",
                "open('/tmp/was-here', 'w')",
                "os.listdir('/tmp')",
                "os.mkdir('/dev/shm/was-here')",
                "os.kill(os.getppid(), 0)",
                "subprocess.run(['true'])",
                "call(libc.unshare(0x10000000))",
            ):
                print(outcome_of(statement))
            """,
        )
        assert output.split() == ["EPERM"] * 2 + ["EACCES"] * 4 + ["EPERM"] * 3

    def test_roots_workers_have_so_many_threads_all_the_same(self) -> None:
        if Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"] or os.geteuid() != 0:
            pytest.skip("only root's threads can be counted apart then")
        output = output_of(
            _NO_UNSHARE,
            """
            import os
            os.environ["OPENBLAS_NUM_THREADS"] = "1"
            from isolated_programs import X, program
            from wasi_nn.isolation import Isolation
            text = '''
            import threading, time
            def run(x):
                for count in range(200):
                    try:
                        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
                    except RuntimeError:
                        return [count]
            '''
            print(program(text, settings=Isolation(threads=50)).compute({"x": X})["y"].item())
            """,
        )
        assert 20 < int(output) < 50

    def test_a_runtime_that_listens_is_refused(self) -> None:
        output = output_of(
            _NO_NAMESPACES,
            """
            from confined_backend import ListeningBackend
            from isolated_programs import outcome_of
            try:
                outcome_of("pass", backend=ListeningBackend)
            except Exception as error:
                print(error)
            """,
        )
        assert output.endswith("this runtime needs user namespaces to be isolated, and the kernel gives none\n")

    @pytest.mark.parametrize("kind", ["openvino", "torchscript", "saved_model", "tflite", "pt2"])
    def test_every_other_runtime_works_or_says_what_it_lacks(self, kind: str) -> None:
        output = output_of(
            _NO_NAMESPACES,
            f"""
            import numpy, wasi_nn
            try:
                graph = wasi_nn.load({str(classifier(kind))!r}, rules=wasi_nn.LoadRules(isolate=True))
                image = numpy.zeros((1, 3, 224, 224), "float32")
                print([value.shape for value in graph.compute({{graph.inputs[0].name: image}}).values()])
            except wasi_nn.NNError as error:
                print(error)
            """,
        )
        if kind == "pt2":
            assert "no-scratch-folder-without-user-namespaces" in output
        else:
            assert output == "[(1, 1000)]\n"


class TestWithoutWhatIsRequired:
    def test_landlock(self) -> None:
        assert output_of(_NO_LANDLOCK, _TRIES).startswith(
            "unsupported-operation graphs can't be isolated here: isolation needs Landlock, and the kernel has none ("
        )

    def test_seccomps_library(self) -> None:
        assert output_of(_NO_SECCOMP, _TRIES).startswith(
            "unsupported-operation graphs can't be isolated here: isolation needs the library libseccomp.so.2 ("
        )

    def test_a_kernel_that_lets_nobody_filter_calls(self) -> None:
        output = output_of(_NO_FILTERS, _TRIES)
        assert output.startswith("unsupported-operation graphs can't be isolated here: ")

    @pytest.mark.parametrize("lack", [_NO_LANDLOCK, _NO_SECCOMP])
    def test_the_command_refuses_it(self, lack: str) -> None:
        output = output_of(
            lack,
            """
            import contextlib, pathlib, sys, tempfile, onnx_models
            from wasi_nn.cli import main
            with contextlib.redirect_stderr(sys.stdout), tempfile.TemporaryDirectory() as folder:
                model, guest = pathlib.Path(folder, "model.onnx"), pathlib.Path(folder, "guest.wat")
                model.write_bytes(onnx_models.relu())
                guest.write_text('(module (func (export "_start")))')
                print(main(["run", "--graph", f"g={model}", str(guest)]))
                print(main(["run", "--isolate", "--graph", f"g={model}", str(guest)]))
            """,
        )
        assert output.startswith("0\nwasi-nn: graphs can't be isolated here: isolation needs ")
        assert not output.endswith("\n0\n")

    def test_models_that_only_isolation_may_load_are_refused(self) -> None:
        output = output_of(
            _NO_LANDLOCK,
            """
            import wasi_nn
            from wasi_nn import ExecutionTarget, GraphEncoding
            from openvino_models import openvino_relu
            with wasi_nn.Session() as session:
                try:
                    builders = [memoryview(part) for part in openvino_relu()]
                    session.load(builders, GraphEncoding.OPENVINO, ExecutionTarget.CPU)
                except wasi_nn.NNError as error:
                    print(error.code.value, error)
            """,
        )
        assert output.startswith("security ")
