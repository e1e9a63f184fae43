"""How a team's server is asked, in MLflow's own settings, and what to do where it refuses."""

import configparser
import os
import re
from pathlib import Path

CREDENTIALS = Path("~/.mlflow/credentials")
CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
UNVERIFIED = re.compile(r"certificate verify failed: (?P<reason>.+?)\.? \(_ssl")
ADVICE = {  # by what MLflow, requests and nginx say
    r"certificate has expired": "whoever runs the server has to renew it",
    r"certificate verify failed: .*mismatch": (
        "MLFLOW_TRACKING_URI must have the name that is in the certificate"
    ),
    r"certificate verify failed": (
        f"set {CERTIFICATE} to the file of the certificate, or of its CA, that whoever runs the "
        "server gives out"
    ),
    r"invalid path": f"{CERTIFICATE}, or REQUESTS_CA_BUNDLE, must be the path of a .pem file",
    r"NO_CERTIFICATE_OR_CRL_FOUND|\[X509": (
        f"{CERTIFICATE}, or REQUESTS_CA_BUNDLE, names a file without a certificate"
    ),
    r"WRONG_VERSION_NUMBER|record layer failure|UNKNOWN_PROTOCOL": (
        "it speaks no TLS there: MLFLOW_TRACKING_URI may have to begin with http://"
    ),
    r"plain HTTP request was sent to HTTPS port": (
        "MLFLOW_TRACKING_URI must begin with https://, and as the password has just passed the "
        "network unencrypted, it should be changed"
    ),
    r"(code|answers) 401|401 Client Error": (
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN, or "
        f"{CREDENTIALS}) are not those of a user"
    ),
    r"(code|answers) 403|403 Client Error|PERMISSION_DENIED": (
        "this user has no right to do so. The server's administrator may give it: READ to see, "
        "EDIT on the experiment to record, EDIT on the registered model to register"
    ),
}


def credentials() -> tuple[str, str]:
    """The user and the password by which MLflow logs in, of the environment or else of its file.

    Each is empty where it is not set. In the file, % is written %%.
    """
    file = configparser.ConfigParser(interpolation=None)
    try:
        file.read(CREDENTIALS.expanduser())
    except (configparser.Error, OSError, UnicodeDecodeError):
        file.clear()
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    user, password = (
        os.environ.get(name) or file.get("mlflow", name, fallback="").replace("%%", "%")
        for name in names
    )
    return user, password


def verify() -> str | bool:
    """What requests is to verify a server's certificate with: a file of its CA, or True or False.

    With True, requests looks at REQUESTS_CA_BUNDLE.
    """
    is_unsafe = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    return os.environ.get(CERTIFICATE) or not is_unsafe


def explain(reason: str) -> str:
    """The first line of a failure to reach the server, and what to do about it, where it is known.

    Where a certificate or the file of credentials is wrong, what MLflow says is left out: it has
    the request, or half of the password.
    """
    if "'%' must be followed by" in reason:
        return f"{CREDENTIALS} has a % that stands alone: write %% for each % of the password."
    line = next(iter(reason.strip().splitlines()), "").partition(" Response body: '<")[0]
    if found := UNVERIFIED.search(reason):
        line = f"the server's certificate cannot be verified ({found['reason']})"
    advice = next((text for kind, text in ADVICE.items() if re.search(kind, reason)), "")
    return f"{line.rstrip('. ')}: {advice}." if advice else line
