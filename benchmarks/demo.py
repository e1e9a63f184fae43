"""The page to try a model under load: 200 requests a second for 20 seconds, from this process.

Takes trained models (dvc repro). A quarter of the requests are for the page's files, half are
searches, and a quarter lists, each for other ratings.
Usage: python -m benchmarks.demo [REQUESTS_PER_SECOND] [SECONDS]
"""

import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import requests

import cf
from benchmarks.servers import server

RATE, SECONDS = 200, 20
N_THREADS = 32
N_POPULAR, N_RATED = 200, 8
TIMEOUT = 60
QUERIES = ("matrix", "toy", "god", "star w", "amelie", "lord of")


def main() -> None:
    """Print how many were answered with which status, and how long it took."""
    rate, seconds = (
        int(sys.argv[k]) if len(sys.argv) > k else default
        for k, default in ((1, RATE), (2, SECONDS))
    )
    model = cf.load()
    popular = np.argsort(-model.n_ratings, kind="stable")[:N_POPULAR]
    ids = model.catalog.items["item_id"].iloc[popular].astype(str).tolist()
    sessions = threading.local()
    taken: dict[str, list[float]] = {}
    status: Counter[Any] = Counter()

    def ask(url: str, number: int, due: float) -> None:
        if not hasattr(sessions, "one"):
            sessions.one = requests.Session()
        name, method, path, options = request(number, ids)
        time.sleep(max(0.0, due - time.perf_counter()))
        try:
            answer = sessions.one.request(method, url + path, timeout=TIMEOUT, **options)
            status[answer.status_code] += 1
        except requests.RequestException as error:
            status[type(error).__name__] += 1
        taken.setdefault(name, []).append(time.perf_counter() - due)

    with server(["-m", "cf.cli", "demo"]) as url, ThreadPoolExecutor(N_THREADS) as pool:
        began = time.perf_counter() + 0.1
        for number in range(rate * seconds):
            pool.submit(ask, url, number, began + number / rate)
        pool.shutdown()
        wall = time.perf_counter() - began
    print(f"{rate * seconds:,} requests in {wall:.1f} s: {dict(status)}")
    for name, values in sorted(taken.items()):
        ms = np.quantile(values, [0.5, 0.99]) * 1000
        print(f"{name}: median {ms[0]:.1f} ms, 99% within {ms[1]:.1f} ms, from when it was due")


def request(number: int, ids: list[str]) -> tuple[str, str, str, dict[str, Any]]:
    """A request's name, method, path and body, by its number."""
    draw = np.random.default_rng(number)
    if number % 4 == 0:
        return "file", "GET", draw.choice(["/", "/page.css", "/page.js"]), {}
    if number % 4 == 1:
        rated = draw.choice(ids, N_RATED, replace=False).tolist()
        ratings = {item: float(draw.integers(1, 6)) for item in rated}
        return "list", "POST", "/api/recommend", {"json": {"ratings": ratings}}
    return "search", "GET", "/api/search", {"params": {"q": draw.choice(QUERIES)}}


if __name__ == "__main__":
    main()
