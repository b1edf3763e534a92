"""The paths of the page."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from wasi_nn.serving.http.door import as_json
from wasi_nn.serving.page.overview import overview

if TYPE_CHECKING:
    from starlette.requests import Request

    from wasi_nn.serving.page.activity import Activity
    from wasi_nn.serving.service import InferenceService

_KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_INDEX = "index.html"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
"""The page runs its own scripts only, asks its own server only, and can make no markup of a text."""

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class PageEndpoints:
    """What the server does for each path of the page. `shows_requests` says whether the page shows the requests of all
    clients and their errors."""

    def __init__(self, service: InferenceService, activity: Activity, *, shows_requests: bool) -> None:
        self._service = service
        self._activity = activity
        self._shows_requests = shows_requests
        folder = files("wasi_nn.serving.page").joinpath("files")
        self._files = {
            file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _KINDS
        }

    @property
    def open_paths(self) -> list[str]:
        """The paths of files, which are the same on every server and need no token."""
        return ["/", *(f"/page/{name}" for name in self._files if name != _INDEX)]

    def routes(self) -> list[Route]:
        """The routes of all paths."""
        return [
            Route("/", self.page),
            Route("/page/status", self.page_status),
            Route("/page/{file}", self.page_file),
        ]

    async def page(self, request: Request) -> Response:
        """The page."""
        return self._file(_INDEX)

    async def page_file(self, request: Request) -> Response:
        """A file that the page needs."""
        name = request.path_params["file"]
        if name not in self._files or name == _INDEX:
            raise HTTPException(404)
        return self._file(name)

    async def page_status(self, request: Request) -> Response:
        """What the page shows."""
        answer = as_json(overview(self._service, self._activity, shows_requests=self._shows_requests))
        answer.headers.update(_HEADERS | {"Cache-Control": "no-store"})
        return answer

    def _file(self, name: str) -> Response:
        return Response(self._files[name], media_type=_KINDS[name.rpartition(".")[2]], headers=_HEADERS)
