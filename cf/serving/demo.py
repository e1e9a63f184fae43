"""One page to try a trained model: search, rate, see what is recommended and why."""

import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from cf.core.errors import InputError
from cf.inference.recommender import Recommender

PAGE = Path(__file__).parent / "page"
FILES = {"": "index.html", "page.css": "page.css", "page.js": "page.js"}
HOSTS = ["127.0.0.1", "localhost"]
MAX_BODY = 1 << 16  # bytes
MAX_RATE, BURST = 1000.0, 2000.0  # requests a second, and at once
N_REASONS = 3
LEAST_EFFECT = 0.005  # less is 0.00 on the page
N_KEPT = 512  # answers
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' "
    "'unsafe-inline'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Text = Annotated[str, Field(max_length=500)]
Next = Callable[[Request], Awaitable[Response]]


class Ratings(BaseModel):
    """Somebody's ratings by item id, and what is asked of them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ratings: Annotated[dict[Text, float], Field(max_length=500)] = {}
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


def create_app(recommender: Recommender, rate: float = MAX_RATE, burst: float = BURST) -> FastAPI:
    """The page and what it asks for; it answers requests to this machine alone."""
    app = FastAPI(title="cf", docs_url=None, redoc_url=None, openapi_url=None)
    limit = RateLimit(rate, burst)

    @app.middleware("http")
    async def guard(request: Request, call_next: Next) -> Response:
        length = request.headers.get("content-length", "")
        if not limit.take():
            response: Response = JSONResponse({"detail": "too many requests"}, 429)
        elif request.method == "POST" and not length.isdigit():
            response = JSONResponse({"detail": "a length is required"}, 411)
        elif length.isdigit() and int(length) > MAX_BODY:
            response = JSONResponse({"detail": f"more than {MAX_BODY} bytes"}, 413)
        else:
            response = await call_next(request)
        response.headers.update(HEADERS)
        return response

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)

    @app.exception_handler(InputError)
    async def refuse(request: Request, error: InputError) -> Response:
        return JSONResponse({"detail": str(error)}, 400)

    @app.get("/")
    @app.get("/page.css")
    @app.get("/page.js")
    def page(request: Request) -> FileResponse:
        return FileResponse(PAGE / FILES[request.url.path.lstrip("/")])

    @app.get("/api/facts")
    def facts() -> dict[str, Any]:
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
    def search(q: Annotated[str, Query(max_length=200)]) -> dict[str, Any]:
        return {"items": [described(recommender, item) for item in recommender.catalog.search(q)]}

    @lru_cache(N_KEPT)
    def answer(ratings: tuple[tuple[str, float], ...], n: int) -> list[dict[str, Any]]:
        return recommended(recommender, dict(ratings), n)

    @app.post("/api/recommend")
    def recommend(body: Ratings) -> dict[str, Any]:
        return {"items": answer(tuple(body.ratings.items()), body.n)}

    @app.post("/api/ask")
    def ask(body: Ratings) -> dict[str, Any]:
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
    return [
        described(recommender, recommender.catalog.require_item(row["item_id"]))
        | {key: _plain(row[key]) for key in row if key not in ("item_id", "title")}
        | {"reasons": reasons(recommender, ratings, row["item_id"])}
        for row in rows
    ]


def reasons(recommender: Recommender, ratings: dict[str, float], item: Any) -> list[dict[str, Any]]:
    """The ratings that speak most for or against an item: title and effect."""
    if not ratings:
        return []
    rows: list[Any] = recommender.explain(None, item, N_REASONS, ratings).to_dict("records")
    return [
        {
            "title": described(recommender, recommender.catalog.require_item(row["item_id"]))[
                "title"
            ],
            "effect": float(row["effect"]),
        }
        for row in rows
        if abs(row["effect"]) >= LEAST_EFFECT
    ]


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or value != value else value
