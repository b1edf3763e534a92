"""Writes a page: its markup, style, scripts and data in one file.

The data may come from a hostile model or trace. It is JSON in which no `<` stands, and the scripts make elements of
its texts, never markup. A policy in the page (`Content-Security-Policy`) allows these scripts and this style only, by
their digests, and no connection.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from wasi_nn.errors import ErrorCode, NNError, one_line, printable

_OF_SERVER = ("wasi_nn.serving.page", "style.css"), ("wasi_nn.serving.page", "dom.js")
_STYLE = (_OF_SERVER[0], ("wasi_nn.cli.pages", "page.css"))

_MARKUP = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">To the content</a>
<header><h1>{title}</h1></header>
<main id="content" tabindex="-1">
<noscript>This page needs its own scripts, which this browser doesn't run.</noscript>
</main>
<script type="application/json" id="data">{data}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def write_page(path: str | os.PathLike[str], title: str, scripts: Sequence[str], data: Mapping[str, Any]) -> None:
    """Write a page. `scripts` are names of files of this folder. Raises `NNError` with `runtime-error` if the file
    can't be written."""
    style = "\n".join(_file(*place) for place in _STYLE)
    script = "\n".join([_file(*_OF_SERVER[1]), *(_file("wasi_nn.cli.pages", name) for name in scripts)])
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    markup = _MARKUP.format(policy=policy, title=escape(printable(title)), style=style, script=script, data=_json(data))
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(markup)
    except OSError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, printable(f"{path} can't be written: {one_line(error)}")) from error


def _file(package: str, name: str) -> str:
    return files(package).joinpath("files", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(data: Mapping[str, Any]) -> str:
    """JSON that ends no element: `<` is escaped, and so are all characters but those of ASCII."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
