"""An option in a guest's JSON that nothing knows has no effect, and the host's log says so."""

from __future__ import annotations

import json
import logging

import pytest
from conftest import need

import wasi_nn
from wasi_nn import ErrorCode, NNError

need("xllamacpp", "'wasi-nn[ggml]'")
need("gguf", "gguf")

import ggml_models as models  # noqa: E402

from wasi_nn.backends.ggml.grammars import GuestPolicy  # noqa: E402
from wasi_nn.backends.ggml.options import GUESTS_OPTIONS, from_guest  # noqa: E402
from wasi_nn.backends.ggml.unknown_options import MOST_LOGGED  # noqa: E402


def read(policy: GuestPolicy, **options: object) -> dict[str, object]:
    """A guest's options, given as JSON. Names have `_` for `-`."""
    return from_guest(json.dumps({name.replace("_", "-"): value for name, value in options.items()}).encode(), policy)


@pytest.fixture
def policy() -> GuestPolicy:
    return GuestPolicy({}, in_worker=False)


def test_a_mistyped_option_is_told_of_once_with_the_one_that_is_meant(
    policy: GuestPolicy, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert read(policy, n_predcit=3, temp=0) == {"temp": 0}
    assert read(policy, entirely_else=1) == {}
    assert [(it.levelno, it.getMessage()) for it in caplog.records] == [
        (logging.WARNING, "option 'n-predcit' of ggml has no effect: it is unknown; did you mean n-predict?"),
        (logging.WARNING, "option 'entirely-else' of ggml has no effect: it is unknown"),
    ]


def test_an_option_of_the_operator_is_told_of(policy: GuestPolicy, caplog: pytest.LogCaptureFixture) -> None:
    assert read(policy, max_predict=3) == {}
    (message,) = caplog.messages
    assert message == "option 'max-predict' of ggml has no effect in a guest's JSON: only the operator may give it"


def test_options_of_wasmedge_are_accepted_in_silence(policy: GuestPolicy, caplog: pytest.LogCaptureFixture) -> None:
    for name in GUESTS_OPTIONS:
        try:
            read(policy, **{name: ""})
        except NNError as error:  # an empty text isn't a value of each option
            assert error.code is ErrorCode.INVALID_ARGUMENT
    assert caplog.records == []


def test_a_guest_can_not_fill_the_log(policy: GuestPolicy, caplog: pytest.LogCaptureFixture) -> None:
    for start in range(0, 100_000, 20_000):
        read(policy, **{f"x{number}\n\x1b[31m": 0 for number in range(start, start + 20_000)})
    assert len(caplog.messages) == MOST_LOGGED
    assert caplog.messages[-1].endswith("; further ones of this model are not logged")
    assert all(message.isprintable() and len(message) < 300 for message in caplog.messages)
    read(policy, **{"y" * 1_000_000: 0})
    assert len(caplog.messages) == MOST_LOGGED


def test_a_graph_that_is_loaded_with_a_mistyped_option_computes(caplog: pytest.LogCaptureFixture) -> None:
    with wasi_nn.load([models.tiny(), b'{"n-predcit": 1, "n-predict": 2}']) as graph:
        outputs = graph.compute({"prompt": "hello", "options": b'{"tempp": 0}'})
    assert json.loads(outputs["metadata"].tobytes())["output_tokens"] <= 2
    assert [message.partition(";")[2] for message in caplog.messages] == [
        " did you mean n-predict?",
        " did you mean temp?",
    ]
