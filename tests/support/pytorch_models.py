"""Small PyTorch models for the tests, saved by torch in both formats, and functions that tamper with saved models."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def script(module: nn.Module, *traced_on: Any) -> bytes:
    """A TorchScript archive of a module in evaluation mode; traced if there are inputs to trace it on."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        module = nn.Module.train(module, False)  # a module may have a method `train` of its own
        jit: Any = torch.jit
        made = jit.trace(module, traced_on) if traced_on else jit.script(module)
        archive = io.BytesIO()
        jit.save(made, archive)
    return archive.getvalue()


def export(module: nn.Module, *arguments: Any, keywords: Any = None, dynamic_shapes: Any = None) -> bytes:
    """An exported program of a module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), arguments, keywords, dynamic_shapes=dynamic_shapes)
        archive = io.BytesIO()
        torch.export.save(program, archive)
    return archive.getvalue()


def package(**programs: tuple[nn.Module, Any]) -> bytes:
    """An archive of several exported programs, by their names: each of a module, on this input."""
    from torch.export.pt2_archive._package import package_pt2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = {name: torch.export.export(module.eval(), (x,)) for name, (module, x) in programs.items()}
        archive = io.BytesIO()
        package_pt2(archive, exported_programs=exported)
    return archive.getvalue()


def tampered(archive: bytes, changes: Mapping[str, bytes | Callable[[bytes], bytes]]) -> bytes:
    """An archive with other content for the entries whose names end with these keys; other keys are added."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(made, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        left = dict(changes)
        for name in old.namelist():
            content = old.read(name)
            end = next((end for end in changes if name.endswith(end)), None)
            if end is not None:
                change = left.pop(end)
                content = change if isinstance(change, bytes) else change(content)
            new.writestr(name, content)
        for end, added in left.items():
            assert isinstance(added, bytes)
            new.writestr(f"{root}/{end}", added)
    return made.getvalue()


def with_program(archive: bytes, change: Callable[[Any], object]) -> bytes:
    """An exported program's archive with a changed description of the program."""

    def changed(text: bytes) -> bytes:
        program = json.loads(text)
        change(program)
        return json.dumps(program).encode()

    return tampered(archive, {"models/model.json": changed})


class Relu(nn.Module):
    """max(x, 0)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x)


class Identity(nn.Module):
    """x."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Net(nn.Module):
    """A small network for images, with common layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2)
        )
        self.head = nn.Linear(32, 5)

    def forward(self, image: Tensor) -> Tensor:
        return torch.softmax(self.head(torch.flatten(self.body(image), 1)), dim=1)


class Sharing(nn.Module):
    """Outputs that share memory with the input, with the module's weights, and with each other."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("buffer", torch.ones(3))
        self.constant = torch.ones(3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        y = x + 1
        folded = torch.tensor([1.0, 2.0, 3.0]) * 2
        return x, x[:2], self.weight, self.buffer, self.constant, folded, y, y, y[1:]  # type: ignore[return-value]


class InPlace(nn.Module):
    """x + 1, written over x."""

    def forward(self, x: Tensor) -> Tensor:
        x.add_(1)
        return x * 1


class HiddenInPlace(nn.Module):
    """max(x, 0), written over x by an operator that is declared to make a new tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, 0.5, False).relu_()


class Counter(nn.Module):
    """The number of runs, plus x."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.count.add_(1)  # type: ignore[operator]
        return x + self.count  # type: ignore[operator]


class Remembering(nn.Module):
    """The sum of all inputs so far, kept as an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.sum = self.sum + x
        return self.sum


class Arguments(nn.Module):
    """Arguments that aren't only tensors."""

    def forward(
        self,
        x: Tensor,
        times: int,
        state: tuple[Tensor, Tensor] | None,
        plus: float = 0.5,
        negate: bool = False,
        other: Tensor | None = None,
        names: list[str] | None = None,
    ) -> Tensor:
        y = x * times + plus
        if state is not None:
            y = y + state[0] - state[1]
        if other is not None:
            y = y + other
        return -y if negate else y


class Pair(nn.Module):
    """A tuple in a tuple, and numbers."""

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, int], float, bool]:
        return x + 1, (x + 2, x.dim()), 0.5, True


class Dict(nn.Module):
    """A dict."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"one": x + 1, "two": x + 2}


class Nested(nn.Module):
    """Dicts and lists in each other, and nothing."""

    def forward(self, x: Tensor) -> Any:
        return {"a": x + 1, "b": [x + 2, {"c": x + 3}, None], "n": x.shape[0]}


class Saves(nn.Module):
    """Writes a file on the host."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, self.path)
        return x


class Maps(nn.Module):
    """Maps a file of the host."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_file("/etc/hostname", False, 4, dtype=torch.uint8)


class SavesOnLoad(nn.Module):
    """Writes a file on the host while it is loaded."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> str:
        return self.path

    @torch.jit.export
    def __setstate__(self, path: str) -> None:
        self.path = path
        self.training = False
        torch.save(torch.ones(1), path)

    def forward(self, x: Tensor) -> Tensor:
        return x


class Digits(nn.Module):
    """A small network for images of 8 x 8 pixels as rows, which `train` improves by a step of gradient descent."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.hidden = nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def _scores(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(torch.relu(self.hidden(x)))
        return scores

    @torch.jit.export
    def infer(self, x: Tensor) -> dict[str, Tensor]:
        scores = self._scores(x)
        return {"digit": scores.argmax(1), "share": torch.softmax(scores, 1).amax(1)}

    @torch.jit.export
    def train(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        loss = nn.functional.cross_entropy(self._scores(x), y)
        weights = [self.hidden.weight, self.hidden.bias, self.head.weight, self.head.bias]
        gradients = torch.autograd.grad([loss], weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=False):
                if gradient is not None:
                    weight.sub_(gradient, alpha=0.3)
            self.steps.add_(1)  # type: ignore[operator]
        return loss


class Methods(nn.Module):
    """Methods of all kinds beside `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self._helper([x]) + self.count  # type: ignore[operator]

    def _helper(self, xs: list[Tensor]) -> Tensor:
        return xs[0]

    @torch.jit.export
    def takes_lists(self, xs: list[Tensor]) -> Tensor:
        return xs[0]

    @torch.jit.export
    def add(self, x: Tensor, times: int = 1) -> Tensor:
        self.count.add_(x.sum() * times)  # type: ignore[operator]
        return self.count  # type: ignore[return-value]


class Drifting(nn.Module):
    """Gradients, and attributes that are computed from weights: their history must not stay."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((size,), 0.5))
        self.product = torch.ones(size)
        self.kept = [torch.ones(size)]
        self.parts = {"sum": torch.zeros(size)}

    def forward(self, x: Tensor) -> Tensor:
        self.product = (self.product * self.weight * x)[:]
        self.kept = [self.kept[0] * self.weight * x]
        self.parts["sum"] = self.parts["sum"] + self.weight * x
        gradient = torch.autograd.grad([(self.weight * x).sum()], [self.weight])[0]
        assert gradient is not None
        return gradient[:4]


class Gradients(nn.Module):
    """Gives the gradients of its weight, which it doesn't change."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (self.weight * x).sum().backward()  # type: ignore[no-untyped-call]
        gradients = self.weight.grad
        assert gradients is not None
        return gradients.clone()

    @torch.jit.export
    def infer(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


class Tally(nn.Module):
    """Counts to 100 in each run. Its state is a number and a list, and no tensor of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.count: int = 0
        self.last: list[torch.Tensor] = [torch.zeros(1)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(100):
            self.count += 1
            self.last.append(x.clone())
            if len(self.last) > 3:
                self.last.clear()
        return torch.tensor([self.count])


class Typed(nn.Module):
    """y = x; buffers of several types. Each run adds 1 to one of them, and 1.5 to another."""

    def __init__(self) -> None:
        super().__init__()
        for dtype in (torch.bfloat16, torch.float16, torch.float64, torch.int8, torch.uint16, torch.bool):
            self.register_buffer(f"of_{str(dtype).removeprefix('torch.')}", torch.zeros(2, 3, dtype=dtype))
        self.register_buffer("scalar", torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        self.of_bfloat16.add_(1.5)  # type: ignore[operator]
        self.scalar.add_(1)  # type: ignore[operator]
        return x


class Base(nn.Module):
    """The variables of programs."""

    def __init__(self, start: float = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("count", torch.tensor([float(start)]))


class Adds(nn.Module):
    """A program that adds the sum of x to `count`, and gives the count."""

    def __init__(self, base: Base) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.base.count.add_(x.sum())  # type: ignore[operator]
        return {"count": self.base.count * 1, "y": self.base.linear(x)}  # type: ignore[dict-item, operator]


class Looks(nn.Module):
    """A program that gives `count`, plus x."""

    def __init__(self, base: Base) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        return x + self.base.count  # type: ignore[operator]
