"""Show the API's document as a page that runs the scripts it brings along, and no others (CSP, level 3)."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response

_FILES: Final = "/static-offline-docs"
_INLINE: Final = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def add_docs_page(app: FastAPI) -> None:
    """Serve it at `/docs`; what it needs of Swagger UI is at `/static-offline-docs`."""
    page = bytes(
        get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=f"{app.title}: API",
            swagger_js_url=f"{_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{_FILES}/swagger-ui.css",
            swagger_favicon_url=f"{_FILES}/favicon.png",
        ).body
    )
    policy = {"Content-Security-Policy": _policy(page)}

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> Response:
        return HTMLResponse(page, headers=policy)


def _policy(page: bytes) -> str:
    """Scripts of this origin, and the page's own, known by their digests. Swagger UI sets styles as it runs."""
    digests = " ".join(f"'sha256-{b64encode(sha256(script).digest()).decode()}'" for script in _INLINE.findall(page))
    return (
        f"default-src 'none'; script-src 'self' {digests}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
