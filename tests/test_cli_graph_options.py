"""`--graph-option` of the command: each setting of a file of graphs, for a graph that any option names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models as models
import pytest
from onnx import TensorProto

import wasi_nn
from wasi_nn import Isolation, LoadRules, cli, settings
from wasi_nn.backends import built_in
from wasi_nn.loading import graphs_file
from wasi_nn.loading.named_graph import NamedGraph

Write = Callable[[str, bytes], Path]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Runs the command in a directory with a model and a file of graphs; returns exit code, output and errors."""
    write("net.onnx", models.relu())
    write("int8.onnx", models.cast(TensorProto.INT8, TensorProto.FLOAT))
    write("graphs.toml", b"[graphs.listed]\npath = 'net.onnx'\noptions = { threads = 2, optimization = 'basic' }\n")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        output, errors = capsys.readouterr()
        return code, output, errors

    return run


def row(command: Command, *arguments: str) -> dict[str, Any]:
    code, output, errors = command("graphs", "--json", *arguments)
    assert (code, errors) == (0, "")
    (only,) = json.loads(output)
    return dict(only)


NET = ("--graph", "net=net.onnx")


def test_a_setting_with_an_underscore_is_suggested_with_its_hyphen(command: Command) -> None:
    code, _, errors = command("graphs", *NET, "--graph-option", "net:convert_types=true")
    assert code == 2
    assert "--graph-option net:convert_types=true: no setting 'convert_types'; did you mean convert-types?" in errors


def test_an_option_of_the_backend(command: Command) -> None:
    options = ["--graph-option", "net:threads=2", "--graph-option", 'net:providers=["CPUExecutionProvider"]']
    found = row(command, *NET, *options, "--graph-option", "net:optimization=basic", "--check")
    assert found["options"] == {"threads": 2, "providers": ["CPUExecutionProvider"], "optimization": "basic"}
    assert found["run_ms"] is not None


def test_the_keys_of_a_file_of_graphs(command: Command, tmp_path: Path) -> None:
    digest = hashlib.sha256((tmp_path / "net.onnx").read_bytes()).hexdigest()
    given = {"runtime": "openvino", "encoding": "onnx", "target": "cpu", "sha256": digest}
    assert {*given, "convert-types", "share-variables", "max-batch", "max-delay"} == set(graphs_file.SETTINGS)
    options = [part for key, value in given.items() for part in ("--graph-option", f"net:{key}={value}")]
    assert given.items() <= row(command, *NET, *options, "--check").items()
    converted = row(command, "--graph", "net=int8.onnx", "--check", "--graph-option", "net:convert-types=true")
    assert (converted["convert_types"], "run_ms" in converted) == (True, True)
    shared = row(command, *NET, "--graph-option", "net:share-variables=true")
    assert (shared["share_variables"], row(command, *NET)["share_variables"]) == (True, False)


def test_a_graph_for_batches_is_listed_and_checked(command: Command, write: Write) -> None:
    write("rows.onnx", models.relu(("n", 4)))
    options = ["--graph-option", "net:max-batch=8", "--graph-option", "net:max-delay=0.25"]
    found = row(command, "--graph", "net=rows.onnx", *options, "--check")
    assert (found["max_batch"], found["max_delay"], "run_ms" in found) == (8, 0.25, True)
    assert "(max-batch=8, max-delay=0.25)" in command("graphs", "--graph", "net=rows.onnx", *options)[1]
    code, listed, _ = command("graphs", *NET, "--graph-option", "net:max-batch=8", "--check")
    assert code == 1
    assert "input 'x' has the dims [4], whose first one doesn't vary" in " ".join(listed.split())


def test_graphs_that_other_options_name(command: Command, write: Write) -> None:
    assert row(command, "--graphs", "graphs.toml", "--graph-option", "listed:threads=3")["options"] == {
        "threads": 3,
        "optimization": "basic",
    }
    write("dir/net/model.onnx", models.relu())
    for option, value in (("--nn-graph", "onnx::dir/net"), ("--nn-preload", "net:onnx:cpu:net.onnx")):
        assert row(command, option, value, "--graph-option", "net:threads=3")["options"] == {"threads": 3}


def test_names_may_have_colons_and_equals_signs(command: Command, write: Write) -> None:
    write("odd.toml", b"[graphs.'a:b=c']\npath = 'net.onnx'\n[graphs.a]\npath = 'net.onnx'\n")
    code, output, _ = command("graphs", "--json", "--graphs", "odd.toml", "--graph-option", "a:b=c:threads=1")
    assert code == 0
    assert [each["options"] for each in json.loads(output)] == [{"threads": 1}, {}]


def test_a_digest_of_digits_alone_is_text(write: Write) -> None:
    digits = "1234567890" * 6 + "1234"
    assert graphs_file.with_setting(NamedGraph("x"), "sha256", digits).sha256 == digits
    assert graphs_file.with_setting(NamedGraph("x"), "device", "[" * 100_000).options == {"device": "[" * 100_000}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("net:thread=2", "no option 'thread' for onnx; there are external_data, inter_op_threads, optimization, "),
        ("net:thread=2", "; did you mean threads?"),
        ("net:threads=many", "option 'threads' of onnx can't be 'many': it takes a whole number from 0 to 4096"),
        ("net:runtime=torhc", "no runtime is named 'torhc'; there are onnxruntime, "),
        ("net:target=npu", "no target is named 'npu'; there are cpu, gpu, tpu"),
        ("net:sha256=abc", "--graph-option net:sha256=abc: sha256 can't be 'abc': it takes 64 hexadecimal digits"),
        ("net:convert-types=yes", "convert-types can't be 'yes': it takes true or false"),
        ("nett:threads=2", "no graph is named 'nett'; the names here: net; did you mean net?"),
        ("net", "it takes NAME:KEY=VALUE, such as net:threads=2"),
        ("net:path=other.onnx", "'path' is no setting: the path stands beside the name of the graph, as in --graph"),
        ('net:options={"threads": 2}', "'options' is no setting: give each option by its own name, such as threads=2"),
        ("threads=2", "it takes NAME:KEY=VALUE, such as net:threads=2"),
        ("net:threads", "it takes KEY=VALUE, such as threads=2"),
    ],
)
def test_what_is_wrong_is_said_before_the_guest_runs(command: Command, option: str, message: str) -> None:
    for subcommand in (["graphs"], ["run", "guest.wasm"], ["replay", "trace.json"]):
        arguments = [subcommand[0], *NET, "--graph-option", option, *subcommand[1:]]
        code, output, errors = command(*arguments)
        assert (code, output, len(errors.splitlines())) == (2, "", 1)
        assert message in errors


def test_without_any_graph_the_error_says_how_to_name_one(command: Command) -> None:
    code, _, errors = command("run", "--graph-option", "net:threads=2", "guest.wasm")
    assert (code, "there are none: name one by --graph NAME=PATH" in errors) == (2, True)


def test_inspect_takes_the_same_settings(command: Command) -> None:
    for option in ("--option", "--graph-option"):
        code, output, _ = command("inspect", option, "runtime=openvino", option, "NAME:streams=1", "net.onnx")
        assert (code, output.splitlines()[1].split()) == (0, ["runtime", "openvino"])
    code, _, errors = command("inspect", "--option", "thread=2", "net.onnx")
    assert (code, "graph 'net.onnx': no option 'thread' for onnx" in errors) == (1, True)


def test_options_of_a_file_of_graphs_are_checked_when_it_is_read(command: Command, write: Write) -> None:
    write("wrong.toml", b"[graphs.net]\npath = 'net.onnx'\noptions.thread = 2\n")
    code, _, errors = command("graphs", "--graphs", "wrong.toml")
    assert (code, "graph 'net': no option 'thread' for onnx; there are" in errors) == (1, True)


def test_the_options_of_no_backend_are_named_like_a_key_of_the_file() -> None:
    for backend in built_in():
        for key in graphs_file.SETTINGS:
            with pytest.raises(Exception, match=f"no option '{key}'"):
                backend.check_options({key: 1})


# The phrase for a setting


def test_the_phrase_for_an_option_can_be_typed(command: Command, write: Write) -> None:
    phrase = settings.how_to_set_option("external_data", ["a b.bin"])
    assert phrase == (
        "options={'external_data': ['a b.bin']}, --graph-option 'NAME:external_data=[\"a b.bin\"]', "
        'options.external_data = ["a b.bin"] in graphs.toml'
    )
    assert settings.how_to_set_option("allow-grammar", True) == (
        "options={'allow-grammar': True}, --graph-option NAME:allow-grammar=true, "
        "options.allow-grammar = true in graphs.toml"
    )
    line = phrase.split(", ")[-1].removesuffix(" in graphs.toml")
    write("typed.toml", f"[graphs.net]\npath = 'net.onnx'\n{line}\n".encode())
    typed = ["--graph-option", 'net:external_data=["a b.bin"]']
    assert row(command, "--graphs", "typed.toml")["options"] == row(command, *NET, *typed)["options"]


def test_the_phrase_shows_nothing_of_a_model_that_a_terminal_would_obey() -> None:
    phrase = settings.how_to_set_option("signature", "a\x1b[2J\u202e\u65e5")
    assert phrase.isprintable()
    assert "\u65e5" in phrase
    assert json.loads(phrase.split(" = ")[1].removesuffix(" in graphs.toml")) == "a\x1b[2J\u202e\u65e5"


def test_a_target_that_is_not_there_is_told_with_the_way_to_another(command: Command) -> None:
    target = ["--graph", "net=onnx:tpu:net.onnx", "--check"]
    code, output, _ = command("graphs", *target)
    how = "another target can take its place (LoadRules(target_fallback='cpu'), --target-fallback cpu)"
    assert (code, how in " ".join(output.split())) == (1, True)
    assert command("graphs", *target, "--target-fallback", "cpu")[0] == 0


def test_an_element_type_that_wasi_nn_lacks_is_told_with_the_three_ways_to_convert() -> None:
    with wasi_nn.load(models.cast(TensorProto.INT8, TensorProto.FLOAT)) as graph:
        context = graph.init_execution_context()
        how = "LoadRules(convert_types=True), --convert-types, convert-types = true in graphs.toml"
        with pytest.raises(wasi_nn.NNError) as raised:
            context.write_input(0, np.dtype(np.int32), (4,), memoryview(bytes(16)))
    assert f"the host can convert them ({how})" in str(raised.value)


# Workers


def rules_of(*arguments: str) -> LoadRules:
    import argparse

    from wasi_nn.cli import graph_options

    parser = argparse.ArgumentParser(exit_on_error=False)
    graph_options.add_rules(parser)
    return graph_options.rules(parser.parse_args(arguments))


def test_each_setting_of_isolation_has_an_option() -> None:
    assert rules_of() == LoadRules()
    expected = Isolation(memory=2**29, threads=64, load_time=2.5, grace=0.5, spare=True)
    flags = ["--worker-memory=512M", "--worker-threads=64", "--worker-load-time=2.5", "--worker-grace=500ms"]
    flags.append("--worker-spare")
    assert rules_of(*flags).isolation == expected
    assert rules_of(*flags, "--isolate") == LoadRules(isolate=True, isolation=expected)
    with pytest.raises(cli.UsageError, match="--worker-memory is for isolated graphs"):
        rules_of("--worker-memory=512M", "--no-isolate")
    with pytest.raises(cli.UsageError, match="--worker-spare is for isolated graphs"):
        rules_of("--worker-spare", "--no-isolate")


def test_a_worker_has_the_memory_that_the_command_gives(command: Command) -> None:
    code, output, _ = command("graphs", *NET, "--check", "--isolate", "--worker-memory", "1M")
    assert code == 1
    assert "Isolation.memory, --worker-memory" in " ".join(output.split())
