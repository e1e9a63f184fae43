"""A server of MLflow that asks who one is: what its users may not do, and what nobody may read."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
import requests
from mlflow import MlflowClient

from cf.cli import ui
from cf.core.errors import InputError
from cf.tracking.login import credentials, explain, verify
from cf.tracking.record import RunRecord, recording
from cf.tracking.redact import redact
from tests.project import ROOT, Project
from tests.records import ON, finished
from tests.servers import free_port
from tests.stores import environment
from tests.test_mlflow_store import picture
from tests.test_team_server import Server

ADMIN = ("admin", "of-the-administrator")
MEMBER = ("member", f"{uuid4().hex[:8]}/p@ss w%rd&2")
FORMS = {MEMBER[1], quote(MEMBER[1]), quote(MEMBER[1], safe="")}
"""How the password may be written."""


class Login(Server):
    """A server with two users: of a registered model, the member may read."""

    def as_user(self, name: str, password: str) -> dict[str, str]:
        """The environment of somebody who has logged in."""
        keys = ("URI", "USERNAME", "PASSWORD")
        values = (self.address, name, password)
        return {f"MLFLOW_TRACKING_{k}": v for k, v in zip(keys, values, strict=True)}

    @property
    def with_password(self) -> str:
        """The address as somebody writes it who knows no other way to log in."""
        user, password = (quote(part, safe="") for part in MEMBER)
        return self.address.replace("://", f"://{user}:{password}@")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Login]:
    pytest.importorskip("flask_wtf", reason="no flask-wtf here: pip install flask-wtf")
    root = tmp_path_factory.mktemp("login")
    settings = root / "auth.ini"
    settings.write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
        f"database_uri = sqlite:///{root}/users.db\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 60\n"
    )
    server = Login(
        f"sqlite:///{root}/mlflow.db",
        root,
        *("--app-name", "basic-auth"),
        MLFLOW_AUTH_CONFIG_PATH=str(settings),
        MLFLOW_AUTH_ADMIN_PASSWORD=ADMIN[1],
        MLFLOW_FLASK_SERVER_SECRET_KEY="of-a-test",
    )
    try:
        server.start()
        user = {"username": MEMBER[0], "password": MEMBER[1]}
        url = f"{server.address}/api/2.0/mlflow/users/create"
        requests.post(url, json=user, auth=ADMIN, timeout=60).raise_for_status()
        yield server
    finally:
        server.stop()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def log_in(monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def record(*records: RunRecord) -> bool:
    """Whether something was not recorded."""
    with recording(ON) as recorder:
        for each in records:
            recorder.upsert(each)
    return recorder.failed


def candidate(experiment: str) -> RunRecord:
    """The record of a finished training with all that one has."""
    Path("weights.bin").write_text("w")
    made = finished(files=[Path("weights.bin")])
    made.experiment, made.metrics, made.candidate = experiment, {"rmse": 0.9}, True
    made.pictures, made.reports = {"predicted": picture("dot.png", "red")}, ["weights.bin"]
    return made


def test_what_a_member_may_not_register_stops_nothing_else(
    server: Login, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    log_in(monkeypatch, server.as_user(*ADMIN))
    assert not record(candidate("the administrator's"))
    log_in(monkeypatch, server.as_user(*MEMBER))
    mine = [candidate("a member's"), candidate("a member's"), finished()]
    mine[2].experiment = "a member's"
    assert capfd.readouterr().err == ""
    for _ in range(2):
        assert record(*mine)
        said = capfd.readouterr().err
        assert said.count("warning") == 1
        assert re.search(r"warning: .*(403|PERMISSION_DENIED|[Pp]ermission denied)", said)
        assert "model" in said
        runs = {run.data.tags["execution"]: run for run in server.runs("a member's")}
        assert runs.keys() == {each.id for each in mine}
        for each in mine[:2]:
            run = runs[each.id]
            assert run.info.status == "FINISHED"
            assert run.data.metrics["rmse"] == 0.9
            assert server.files(run) == {"images", "model", "predicted", "report"}
            assert server.files(run, "report") == {"weights"}
            assert "lock_file" not in run.data.tags
        assert runs[mine[2].id].info.status == "FINISHED"
    (version,) = MlflowClient(server.address).search_model_versions("name = 'cf'")
    assert version.run_id not in {run.info.run_id for run in runs.values()}


def test_a_wrong_password_is_named(
    server: Login, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    log_in(monkeypatch, server.as_user("member", "a-wrong-password"))
    with pytest.raises(InputError, match=r"answers 401 .*MLFLOW_TRACKING_PASSWORD"):
        ui.main(free_port())
    assert record(finished())
    said = capfd.readouterr().err
    assert "401" in said
    assert "a-wrong-password" not in said
    log_in(monkeypatch, server.as_user(*MEMBER))
    ui.main(free_port())
    assert capfd.readouterr().out == f"MLflow: {server.address}/#/experiments\n"


def test_a_login_in_mlflows_file_is_found_and_explained(
    server: Login, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    file = here / ".mlflow/credentials"
    file.parent.mkdir()
    login = "[mlflow]\nmlflow_tracking_username = {}\nmlflow_tracking_password = {}\n"
    file.write_text(login.format(*MEMBER))
    assert record(finished())
    said = capfd.readouterr().err
    assert "write %% for each %" in said
    assert MEMBER[1].rpartition("%")[2] not in said, "half of the password"
    file.write_text(login.format(MEMBER[0], MEMBER[1].replace("%", "%%")))
    assert credentials() == MEMBER
    assert redact(f"a {MEMBER[1]}") == "a ***"
    mine = finished()
    mine.experiment = "by the file"
    assert not record(mine)
    ui.main(free_port())
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of the environment")
    assert credentials() == (MEMBER[0], "of the environment")


@pytest.mark.parametrize("content", ["", "no section", "[mlflow]\nmlflow_tracking", "\udcff"])
def test_a_file_without_a_login_is_none(
    content: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(here))
    for name in [name for name in os.environ if name.startswith("MLFLOW_TRACKING")]:
        monkeypatch.delenv(name)
    (here / ".mlflow").mkdir()
    (here / ".mlflow/credentials").write_text(content, errors="surrogateescape")
    assert credentials() == ("", "")


FAILED = "API request to https://x.org/api failed with exception HTTPSConnectionPool(host='x.org')"


@pytest.mark.parametrize(
    ("reason", "explained"),
    [
        ("certificate verify failed: certificate has expired (_ssl.c:1006)", "has to renew it"),
        ("certificate verify failed: unable to get local issuer certificate (_ssl.c:1)", "CA"),
        ("certificate verify failed: Hostname mismatch, not 'y' (_ssl.c:1)", "must have the name"),
        ("code 403 != 200. Response body: 'Permission denied'", "EDIT on the experiment"),
    ],
)
def test_what_is_known_is_explained(reason: str, explained: str) -> None:
    said = explain(f"{FAILED}: {reason}\nand more")
    assert explained in said
    assert "and more" not in said
    assert ("HTTPSConnectionPool" in said) == ("certificate" not in reason)


@pytest.mark.parametrize("reason", ["experiment 401 has 403 runs", "no space left on device"])
def test_what_is_not_known_is_left_as_it_is(reason: str) -> None:
    assert explain(f"{reason}\nand more") == reason


@pytest.mark.parametrize(
    ("environ", "verified"),
    [
        ({}, True),
        ({"MLFLOW_TRACKING_SERVER_CERT_PATH": ""}, True),
        ({"MLFLOW_TRACKING_SERVER_CERT_PATH": "ca.pem"}, "ca.pem"),
        ({"MLFLOW_TRACKING_INSECURE_TLS": "true"}, False),
    ],
)
def test_certificates_are_verified_as_mlflow_does(
    environ: dict[str, str], verified: str | bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(monkeypatch, environ)
    assert verify() == verified


def test_a_password_is_printed_and_written_nowhere(
    server: Login, made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = made.copy(tmp_path / "copy", "mlruns")
    ours.keep_only("dot")
    ours.change("tracking", lambda section: section.update(experiment="secret"))
    away = server.with_password.replace(server.address.rpartition(":")[2], "9")
    logins = {
        "in the address": {"MLFLOW_TRACKING_URI": server.with_password},
        "beside it": server.as_user(*MEMBER),
        "of no server": {"MLFLOW_TRACKING_URI": away},
        "of a database": {"MLFLOW_TRACKING_URI": away.replace("http", "postgresql")},
        "of a database that MLflow does not know": {"MLFLOW_TRACKING_URI": f"x{away}"},
        "that is not escaped": {"MLFLOW_TRACKING_URI": f"http://member:{MEMBER[1]}@127.0.0.1:9"},
        "that is a token": {
            "MLFLOW_TRACKING_URI": server.address,
            "MLFLOW_TRACKING_TOKEN": MEMBER[1],
        },
    }
    load = "import cf; cf.load('models:/cf@champion')"
    commands = (
        ["-m", "stages.train", "dot"],
        *(["-m", "cf.cli", name] for name in ("sync", "ui", "models", "show")),
        ["-c", f"from cf.core.errors import exit_on_input_error as e\n@e\ndef f(): {load}\nf()"],
    )
    for login in logins.values():
        for command in commands:
            done = subprocess.run(
                [sys.executable, *command],
                cwd=ours.folder,
                env={**environment(), **login},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            said = done.stdout + done.stderr
            assert not [form for form in FORMS if form in said], said
            assert "Traceback" not in said, said
    log_in(monkeypatch, server.as_user(*MEMBER))
    assert server.runs("secret"), "the server was reached"
    for root in (ours.folder, server.root):
        for file in (path for path in root.rglob("*") if path.is_file()):
            content = file.read_bytes()
            assert not [form for form in FORMS if form.encode() in content], file


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("no answer of http://me:pass@x.org/api?a@b", "no answer of http://***@x.org/api?a@b"),
        ("postgresql+psycopg2://me:p%40ss@h/db, twice", "postgresql+psycopg2://***@h/db, twice"),
        ("a token: https://ghp_token@x.org", "a token: https://***@x.org"),
        ("mail to me@x.org, see http://x.org/@me", "mail to me@x.org, see http://x.org/@me"),
        ("alone: pa/ss@word and pa%2Fss%40word", "alone: *** and ***"),
        ("a secret-token", "a ***"),
    ],
)
def test_addresses_lose_their_passwords(
    text: str, redacted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:pa/ss@word@x.org")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret-token")
    assert redact(text) == redacted


def test_nothing_is_hidden_where_there_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MLFLOW_TRACKING")]:
        monkeypatch.delenv(name)
    assert redact("http://127.0.0.1:9 does not answer") == "http://127.0.0.1:9 does not answer"
