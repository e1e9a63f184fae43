"""A page to try a trained model in a browser: cf demo."""

import uvicorn

import cf
from cf.serving.demo import create_app


def main(port: int, model: str | None) -> None:
    """Serve the page on this machine until Ctrl-C.

    Raises:
        InputError: there is no such model.
    """
    recommender = cf.load(model)
    recommender.prepare()
    print(f"{recommender.name} answers on http://127.0.0.1:{port} (Ctrl-C ends it)", flush=True)
    uvicorn.run(create_app(recommender), host="127.0.0.1", port=port, log_level="warning")
