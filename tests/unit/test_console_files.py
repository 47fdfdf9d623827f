"""The console's page loads its own files alone, by names that change with their content."""

from __future__ import annotations

import json
import re
import tomllib
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from api.gateway.console.files import console_files

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "api" / "console"
FILES = sorted(each.name for each in FOLDER.iterdir() if each.name != "index.html")
IMPORT = re.compile(r"""(?:\bfrom|\bimport)\s*\(?\s*["']([^"']+)["']""")


def imports(page: str) -> dict[str, str]:
    (shown,) = re.findall(r'<script type="importmap">(.*?)</script>', page)
    found: dict[str, str] = json.loads(shown)["imports"]
    return found


async def test_the_page_loads_its_own_files_and_its_policy_lets_in_no_others(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    rules = dict(rule.partition(" ")[::2] for rule in answer.headers["content-security-policy"].split("; "))
    (inline,) = re.findall(r"<script(?![^>]* src=)[^>]*>(.*?)</script>", answer.text, re.DOTALL)
    digest = b64encode(sha256(inline.encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "script-src": f"'self' 'sha256-{digest}'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?://(?!www\.w3\.org/)", answer.text)
    loaded = re.findall(r'(?:href|src)="(/console/[^"]*)"', answer.text)
    assert len(loaded) > 2
    for url in {*loaded, *imports(answer.text).values()}:
        assert (await client.get(url)).status_code == 200


@pytest.mark.parametrize("name", FILES)
async def test_each_file_is_kept_for_good_under_its_contents_name(client: httpx.AsyncClient, name: str) -> None:
    content = (FOLDER / name).read_bytes()
    stem, _, end = name.rpartition(".")
    answer = await client.get(f"/console/{stem}.{sha256(content).hexdigest()[:16]}.{end}")
    assert answer.content == content
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "javascript" in answer.headers["content-type"] or end != "js"
    assert (await client.get(f"/console/{name}")).status_code == 404


async def test_modules_find_each_other_by_their_plain_names(client: httpx.AsyncClient) -> None:
    known = imports((await client.get("/")).text)
    modules = [name for name in FILES if name.endswith(".js")]
    assert {name.rpartition("/")[2] for name in known} == set(modules)
    for name in modules:
        for wanted in IMPORT.findall((FOLDER / name).read_text(encoding="utf-8")):
            assert "/console/" + wanted.removeprefix("./") in known, f"{name} imports {wanted}"


@pytest.mark.parametrize(
    ("accepts", "packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("identity", False), ("gzip;q=0", False), ("br, gzip; q=0.0, *", False)],
)
async def test_files_are_compressed_for_whoever_reads_that(
    client: httpx.AsyncClient, accepts: str, packed: bool
) -> None:
    plain = max(console_files().files, key=lambda name: len(console_files().files[name].content))
    for path in ("/", f"/console/{plain}"):
        answer = await client.get(path, headers={"Accept-Encoding": accepts})
        whole = await client.get(path, headers={"Accept-Encoding": "identity"})
        assert answer.text == whole.text
        assert (answer.headers.get("content-encoding"), answer.headers["vary"]) == (
            "gzip" if packed else None,
            "Accept-Encoding",
        )
        assert (int(answer.headers["content-length"]) < len(whole.content)) == packed


async def test_a_page_that_is_known_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/")
    again = await client.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert (await client.get("/", headers={"If-None-Match": 'W/"other"'})).status_code == 200
    assert first.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "..%2Fguard.py", "main.0000000000000000.js"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/console/{name}")).status_code == 404


def test_the_wheel_carries_every_file() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["api.console"]
    assert {f"*{Path(name).suffix}" for name in [*FILES, "index.html"]} <= set(data)
