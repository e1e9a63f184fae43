"""Texts without passwords."""

import base64
import os
import re
from typing import IO, Any
from urllib.parse import quote, unquote

from cf.tracking.login import credentials

USER_INFO = re.compile(r"(?<=://)[^\s/?#'\"<>]+(?=@)")
WHOLE_USER_INFO = re.compile(r"\w[\w+.-]*://(?P<user>.*)@")  # also of an address that is none
HIDDEN = "***"


def redact(text: str) -> str:
    """A text in which *** stands for the user and password of every address, and for the secrets
    by which this process is let into MLflow, however they are escaped.
    """
    user, password = credentials()
    secrets = {password, os.environ.get("MLFLOW_TRACKING_TOKEN", "")}
    secrets.add(base64.b64encode(f"{user}:{password}".encode()).decode() if password else "")
    if found := WHOLE_USER_INFO.match(os.environ.get("MLFLOW_TRACKING_URI", "")):
        secrets |= {found["user"], found["user"].partition(":")[2]}
    plain = {unquote(each) for each in secrets}
    forms = secrets | plain | {quote(each, safe=safe) for each in plain for safe in ("", "/")}
    for form in sorted(forms - {""}, key=len, reverse=True):  # first what contains another
        text = text.replace(form, HIDDEN)
    return USER_INFO.sub(HIDDEN, text)


class RedactedStream:
    """A stream to which all is written without passwords, by libraries too."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; a password must be within one of these."""
        self._stream.write(redact(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
