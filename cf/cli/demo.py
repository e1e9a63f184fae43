"""A page to try a trained model in a browser: cf demo."""

import uvicorn

import cf
from cf.cli.ports import HOST, require_free
from cf.serving.demo import create_app


def main(port: int, model: str | None) -> None:
    """Serve the page on this machine until Ctrl-C.

    Raises:
        InputError: there is no such model, or the port is taken.
    """
    require_free(port, "Take another: cf demo --port {another}")
    recommender = cf.load(model)
    recommender.prepare()
    print(f"{recommender.name} answers on http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
    uvicorn.run(create_app(recommender), host=HOST, port=port, log_level="warning")
