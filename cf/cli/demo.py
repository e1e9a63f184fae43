"""A page to try a trained model in a browser: cf demo."""

import os
import socket

import uvicorn

import cf
from cf.core.errors import InputError
from cf.serving.demo import create_app

HOST = "127.0.0.1"


def main(port: int, model: str | None) -> None:
    """Serve the page on this machine until Ctrl-C.

    Raises:
        InputError: there is no such model, or the port is taken.
    """
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        raise InputError(
            f"port {port} of {HOST} cannot be had: {os.strerror(error.errno or 0)}. Take another: "
            f"cf demo --port {port % 65535 + 1}"
        ) from None
    recommender = cf.load(model)
    recommender.prepare()
    print(f"{recommender.name} answers on http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
    uvicorn.run(create_app(recommender), host=HOST, port=port, log_level="warning")
