"""One page to try a trained model: search, rate, see what is recommended and why."""

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cf.core.errors import InputError
from cf.inference.base import Doubles
from cf.inference.recommender import Recommender

PAGE = Path(__file__).parent / "page"
FILES = {"": "index.html", "page.css": "page.css", "page.js": "page.js"}
TYPES = {".css": "text/css", ".js": "text/javascript"}
HOSTS = ["127.0.0.1", "localhost"]
MAX_BODY = 1 << 16  # bytes
MAX_DETAIL = 500  # characters
MAX_RATINGS = 200
MAX_RATE, BURST = 1000.0, 2000.0  # requests a second, and at once
N_REASONS = 3
LEAST_EFFECT = 0.005  # less is 0.00 on the page
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Text = Annotated[str, Field(max_length=500)]


class Ratings(BaseModel):
    """Somebody's ratings by item id, and what is asked of them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ratings: Annotated[dict[Text, float], Field(max_length=MAX_RATINGS)] = {}
    n: Annotated[int, Field(ge=1, le=50)] = 10
    skip: Annotated[list[Text], Field(max_length=1000)] = []


class RateLimit:
    """A bucket of tokens, of which each request takes one."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self.tokens, self.at = burst, time.monotonic()

    def take(self) -> bool:
        """Whether there was one."""
        now = time.monotonic()
        self.tokens = min(self.burst, self.tokens + self.rate * (now - self.at))
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Guard:
    """Refuses requests that are too many or too large, and sets the headers of all answers."""

    def __init__(self, app: ASGIApp, limit: RateLimit) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app = self._refusal(scope) or self.app
        await app(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        length = Headers(scope=scope).get("content-length", "")
        if not self.limit.take():
            return JSONResponse({"detail": "too many requests"}, 429)
        if scope["method"] == "POST" and not length.isdecimal():
            return JSONResponse({"detail": "a length is required"}, 411)
        if length.isdecimal() and int(length) > MAX_BODY:
            return JSONResponse({"detail": f"more than {MAX_BODY} bytes"}, 413)
        return None


def create_app(recommender: Recommender, rate: float = MAX_RATE, burst: float = BURST) -> FastAPI:
    """The page and what it asks for; it answers requests to this machine alone.

    Answers take milliseconds, and are computed one after the other: threads would take longer,
    since each would wait for the others' Python.
    """
    app = FastAPI(title="cf", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
    app.add_middleware(Guard, limit=RateLimit(rate, burst))
    files = {f"/{name}": (PAGE / file).read_bytes() for name, file in FILES.items()}

    @app.exception_handler(RequestValidationError)
    async def refuse_form(request: Request, error: RequestValidationError) -> Response:
        found = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return JSONResponse({"detail": "; ".join(found)[:MAX_DETAIL]}, 422)

    @app.exception_handler(InputError)
    async def refuse(request: Request, error: InputError) -> Response:
        return JSONResponse({"detail": str(error)}, 400)

    @app.get("/")
    @app.get("/page.css")
    @app.get("/page.js")
    async def page(request: Request) -> Response:
        path = request.url.path
        return Response(files[path], media_type=TYPES.get(Path(path).suffix, "text/html"))

    @app.get("/api/facts")
    async def facts() -> dict[str, Any]:
        low, high = recommender.facts["rating_range"]
        unit, dataset = recommender.facts["unit"], recommender.facts["dataset"]
        return {
            "low": low,
            "high": high,
            "unit": unit,
            "dataset": dataset,
            "model": recommender.name,
        }

    @app.get("/api/search")
    async def search(q: Annotated[str, Query(max_length=200)]) -> dict[str, Any]:
        return {"items": [described(recommender, item) for item in recommender.catalog.search(q)]}

    @app.post("/api/recommend")
    async def recommend(body: Ratings) -> dict[str, Any]:
        return {"items": recommended(recommender, body.ratings, body.n)}

    @app.post("/api/ask")
    async def ask(body: Ratings) -> dict[str, Any]:
        item = recommender.ask(body.ratings, body.skip)
        return described(recommender, recommender.catalog.require_item(item))

    return app


def described(recommender: Recommender, item: int) -> dict[str, Any]:
    """The id, as text, and the title of an item."""
    item_id = recommender.catalog.items["item_id"].iat[item]
    return {"item_id": str(item_id), "title": recommender.catalog.name(item)}


def recommended(
    recommender: Recommender, ratings: dict[str, float], n: int
) -> list[dict[str, Any]]:
    """The list for somebody, each item with the ratings that speak most for or against it."""
    rows: list[Any] = recommender.recommend(ratings=ratings, n=n).to_dict("records")
    items = recommender.catalog.require_items(row["item_id"] for row in rows)
    rated = recommender.catalog.require_items(ratings)
    _, effects = recommender.effects(rated, np.array(list(ratings.values()), np.float32), items)
    titles = [recommender.catalog.name(item) for item in rated]
    return [
        described(recommender, item)
        | {key: _plain(row[key]) for key in row if key not in ("item_id", "title")}
        | {"reasons": reasons(titles, of_item)}
        for row, item, of_item in zip(rows, items, effects, strict=True)
    ]


def reasons(titles: list[str], effects: Doubles) -> list[dict[str, Any]]:
    """The ratings that speak most for or against an item: title and effect."""
    order = np.argsort(-np.abs(effects), kind="stable")[:N_REASONS]
    found = [{"title": titles[row], "effect": float(effects[row])} for row in order]
    return [reason for reason in found if abs(float(reason["effect"])) >= LEAST_EFFECT]


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or value != value else value
