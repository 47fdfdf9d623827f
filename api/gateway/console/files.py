"""Serve the console's page, and its files under names that change with their content."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.problems import Problem, ProblemType

_FOLDER: Final = "/console/"
_TYPES: Final[Mapping[str, str]] = {  # by the end of the name; other files are not served
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_PAGE: Final = "index.html"
_REFERENCE: Final = re.compile(rb'(?<=")' + _FOLDER.encode() + rb'([\w-]+\.\w+)(?=")')
_FIRST_SCRIPT: Final = b'<script type="module"'
_ASKED_FOR_GZIP: Final = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")
_FOR_GOOD: Final = "public, max-age=31536000, immutable"  # a year


@dataclass(frozen=True, kw_only=True, slots=True)
class StaticFile:
    """A file as it is sent."""

    content: bytes
    packed: bytes  # the same, compressed by gzip
    media_type: str

    def answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        """The file, compressed if the request says that its sender understands gzip."""
        packed = bool(_ASKED_FOR_GZIP.search(request.headers.get("accept-encoding", "")))
        coding = {"Content-Encoding": "gzip"} if packed else {}
        return Response(
            self.packed if packed else self.content,
            headers={**headers, **coding, "Vary": "Accept-Encoding"},
            media_type=self.media_type,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ConsoleFiles:
    """The page, and the files that it loads by their hashed names."""

    page: StaticFile
    etag: str
    policy: str  # of the page: it loads what is served here, and nothing else (Content Security Policy, level 3)
    files: Mapping[str, StaticFile]


@cache
def console_files() -> ConsoleFiles:
    """Read the files of `api/console` and give each a name that has its content's hash, once for the process.

    Modules go on importing each other by their plain names: an import map, which the policy knows by its digest,
    leads to the hashed ones. Raises ValueError if the page refers to a file that isn't there.
    """
    found = {each.name: each.read_bytes() for each in resources.files("api").joinpath("console").iterdir()}
    page = found.pop(_PAGE)
    hashed = {name: _hashed(name, content) for name, content in found.items() if _end(name) in _TYPES}
    if missing := {name.decode() for name in _REFERENCE.findall(page)} - set(hashed):
        raise ValueError(f"The console's page refers to {', '.join(sorted(missing))}, which is not in api/console")
    modules = {name: into for name, into in hashed.items() if _end(name) == "js"}
    import_map = json.dumps({"imports": {_FOLDER + name: _FOLDER + into for name, into in modules.items()}})
    page = _REFERENCE.sub(lambda match: (_FOLDER + hashed[match[1].decode()]).encode(), page)
    page = page.replace(_FIRST_SCRIPT, _before_modules(import_map, modules.values()) + _FIRST_SCRIPT, 1)
    return ConsoleFiles(
        page=_static(page, "text/html; charset=utf-8"),
        etag=f'W/"{sha256(page).hexdigest()[:32]}"',
        policy=_policy(import_map),
        files={hashed[name]: _static(found[name], _TYPES[_end(name)]) for name in hashed},
    )


def console_file_routes() -> APIRouter:
    """`/`, the page, and `/console/{name}`, its files. Pages of people are no part of the API's document."""
    router = APIRouter(include_in_schema=False)
    console = console_files()

    @router.get("/")
    async def show_console(request: Request) -> Response:
        headers = {"Cache-Control": "no-cache", "ETag": console.etag, "Content-Security-Policy": console.policy}
        if console.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return console.page.answer(request, headers)

    @router.get(_FOLDER + "{name}")
    async def get_console_file(request: Request, name: str) -> Response:
        file = console.files.get(name)
        if file is None:
            raise Problem(ProblemType.NOT_FOUND, f"There is no file {name[:80]} (any more); load / again")
        return file.answer(request, {"Cache-Control": _FOR_GOOD})

    return router


def _before_modules(import_map: str, names: Iterable[str]) -> bytes:
    """The import map, and links that have a browser load all modules at once, not one after the other."""
    links = "".join(f'<link rel="modulepreload" href="{_FOLDER}{name}">\n' for name in sorted(names))
    return f'<script type="importmap">{import_map}</script>\n{links}'.encode()


def _policy(import_map: str) -> str:
    digest = b64encode(sha256(import_map.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def _hashed(name: str, content: bytes) -> str:
    stem, _, end = name.rpartition(".")
    return f"{stem}.{sha256(content).hexdigest()[:16]}.{end}"


def _end(name: str) -> str:
    return name.rpartition(".")[2]


def _static(content: bytes, media_type: str) -> StaticFile:
    return StaticFile(content=content, packed=gzip.compress(content, 9, mtime=0), media_type=media_type)
