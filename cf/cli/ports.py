"""Ports of this machine, where commands serve pages."""

import os
import socket

from cf.core.errors import InputError

HOST = "127.0.0.1"


def require_free(port: int, advice: str) -> None:
    """Raise InputError with the advice if something serves there already, or nothing may.

    `advice` may name {another} port.
    """
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        raise InputError(
            f"port {port} of {HOST} cannot be had: {os.strerror(error.errno or 0)}. "
            f"{advice.format(another=port % 65535 + 1)}"
        ) from None
