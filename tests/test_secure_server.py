"""The team's server of docs/team-server.md, started from that page: TLS, logins and a backup."""

import base64
import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import requests
from mlflow import MlflowClient
from mlflow.server import get_app_client
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from cf.cli import ui
from cf.core.errors import InputError
from cf.tracking.redact import redact
from tests.project import LONGEST, ROOT, Project
from tests.records import finished
from tests.servers import BIN, NEEDS_POSTGRESQL, free_port, postgresql_server
from tests.stores import environment
from tests.test_login import candidate, log_in, record
from tests.test_team_server import Server, check_all_is_there

PAGE = (ROOT / "docs/team-server.md").read_text()
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
PROXY = """
{user} worker_processes 1; daemon off; pid {root}/nginx.pid; error_log {root}/error.log;
events {{}}
http {{
    access_log {root}/access.log;
    client_body_temp_path {root}/1; proxy_temp_path {root}/2; fastcgi_temp_path {root}/3;
    uwsgi_temp_path {root}/4; scgi_temp_path {root}/5;
    include {root}/site;
}}
"""
READS = (  # of an API, of files, of the pages
    "/api/2.0/mlflow/experiments/search?max_results=1",
    "/api/2.0/mlflow/registered-models/search",
    "/api/2.0/mlflow-artifacts/artifacts",
    "/ajax-api/2.0/mlflow/users/list",
    "/",
)

pytestmark = [
    pytest.mark.xdist_group("secure server"),
    NEEDS_POSTGRESQL,
    pytest.mark.skipif(NGINX is None, reason="no nginx here: apt install nginx"),
]


def block(after: str) -> str:
    """The first block of code after a text of the page."""
    found = re.search(rf"{re.escape(after)}.*?```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, after
    return found[1]


class SecureServer(Server):
    """The page's server, with other names, ports and folders than the page's."""

    def __init__(self, root: Path, database_port: int) -> None:
        port, own = free_port(), free_port()
        self.address, self.direct = f"https://localhost:{port}", f"http://127.0.0.1:{own}"
        self.root, self.process = root, None
        self.certificate = root / "certs/mlflow.pem"
        self.names = {
            "https://mlflow.example.org": self.address,
            "mlflow.example.org": "localhost",
            "listen 443": f"listen 127.0.0.1:{port}",
            "http://127.0.0.1:5000": self.direct,
            "--port 5000": f"--port {own}",
            "/opt/mlflow/bin": str(Path(sys.executable).parent),
            "/opt/mlflow": str(root),
            "/etc/mlflow": str(root / "etc"),
            "/etc/ssl": str(root),
            "/etc/systemd/system": str(root / "units"),
            "/var/lib/mlflow": str(root / "lib"),
            "/var/backups/mlflow": str(root / "backups"),
            "runuser -u mlflow -- ": "",
            "runuser -u postgres -- ": "PGUSER=cf ",
        }
        self.environ = {
            **{"PGHOST": "127.0.0.1", "PGPORT": str(database_port), "PGUSER": "mlflow"},
            "PATH": f"{Path(sys.executable).parent}:{BIN}:{os.environ['PATH']}",
        }
        for folder in ("certs", "private", "lib", "units"):
            (root / folder).mkdir()

    def block(self, after: str) -> str:
        """A block of the page, with the names of here."""
        return re.sub(
            "|".join(re.escape(name) for name in self.names),
            lambda found: self.names[found[0]],
            block(after),
        )

    def shell(self, script: str) -> str:
        """Run a script as root would on the page's machine, and return what it printed."""
        script = re.sub(r"^systemctl .*\n", "", script, flags=re.M)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.root,
            env={**environment(), **self.environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def configure(self) -> None:
        """Take the page's steps, from the databases to nginx's site."""
        for step in ("## 2. Databases", "## 3. MLflow", "## 4. nginx"):
            self.shell(self.block(step))
        (self.root / "etc/auth.ini").write_text(self.block("`/etc/mlflow/auth.ini`"))
        (self.root / "site").write_text(self.block("`/etc/nginx/sites-available/mlflow`"))
        (self.root / "add_member.py").write_text(self.block("`/opt/mlflow/add_member.py`"))
        unit = configparser.ConfigParser(interpolation=None)
        service = self.block("`/etc/systemd/system/mlflow.service`")
        (self.root / "units/mlflow.service").write_text(service)
        unit.read_string(service.replace("\\\n", ""))
        self.command = shlex.split(unit["Service"]["ExecStart"])
        lines = Path(unit["Service"]["EnvironmentFile"]).read_text().splitlines()
        self.environ |= dict(line.split("=", 1) for line in lines)

    @contextmanager
    def proxy(self) -> Iterator[None]:
        user = "user root;" if os.geteuid() == 0 else ""  # pytest's folders are its own
        (self.root / "nginx.conf").write_text(PROXY.format(root=self.root, user=user))
        command = [str(NGINX), "-p", str(self.root), "-c", "nginx.conf"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            with requests.Session() as session:
                session.mount("https://", HTTPAdapter(max_retries=Retry(9, backoff_factor=0.05)))
                url = f"{self.address}/health"
                session.get(url, verify=self.certificate, timeout=60).raise_for_status()
            yield
        finally:
            process.terminate()
            process.wait(30)

    @property
    def admin(self) -> tuple[str, str]:
        return "admin", self.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]

    def as_user(self, name: str, password: str) -> dict[str, str]:
        """The environment of somebody who follows the page."""
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_TRACKING_SERVER_CERT_PATH": str(self.certificate),
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": password,
        }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureServer]:
    pytest.importorskip("flask_wtf", reason="no flask-wtf here: pip install flask-wtf")
    with postgresql_server() as port:
        server = SecureServer(tmp_path_factory.mktemp("secure"), port)
        server.configure()
        try:
            server.start()
            with server.proxy():
                yield server
        finally:
            server.stop()


@pytest.fixture(scope="module")
def member(server: SecureServer) -> tuple[str, str]:
    """A member of the team, made as the page says: name and password."""
    name, password = server.shell(server.block("It logs in by the environment")).split(": ")
    return name, password.strip()


@pytest.fixture(scope="module")
def stranger(server: SecureServer) -> tuple[str, str]:
    """Somebody with a login and no rights."""
    name, password = "ben", "a-password-of-ben"
    answer = requests.post(
        f"{server.address}/api/2.0/mlflow/users/create",
        json={"username": name, "password": password},
        auth=server.admin,
        verify=server.certificate,
        timeout=60,
    )
    answer.raise_for_status()
    return name, password


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder as the current one, and as that of somebody who has no settings yet."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def forms(name: str, password: str) -> set[str]:
    """How a password may be written."""
    login = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {password, quote(password, safe=""), login}


def command_lines() -> set[str]:
    """Those of all processes of the machine."""
    return {" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])}


def test_who_has_no_password_reads_nothing(server: SecureServer, member: tuple[str, str]) -> None:
    known = {"admin", member[0], "cf", "experiment_id", "artifact"}
    logins = (None, (member[0], "a-wrong-password"), ("admin", "password1234"), ("admin", ""))
    for path in READS:
        for login in logins:
            url = server.address + path
            answer = requests.get(url, auth=login, verify=server.certificate, timeout=60)
            assert answer.status_code == 401, (path, login)
            assert not [word for word in known if word in answer.text], answer.text
        answer = requests.get(url, auth=server.admin, verify=server.certificate, timeout=60)
        assert answer.ok, path


def test_plain_http_is_not_served(server: SecureServer, member: tuple[str, str]) -> None:
    plain = server.address.replace("https", "http")
    for path in ("/health", *READS):
        answer = requests.get(plain + path, auth=member, timeout=60, allow_redirects=False)
        assert answer.status_code == 400
        assert "plain HTTP request was sent to HTTPS port" in answer.text
    assert re.findall(r"listen (.*);", block("`/etc/nginx/sites-available/mlflow`")) == ["443 ssl"]


def test_a_member_records_a_whole_repro_and_the_password_is_nowhere(
    server: SecureServer,
    member: tuple[str, str],
    made: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = made.copy(tmp_path / "project", "mlruns")
    ours.keep_only("dot")
    ours.change("tracking", lambda section: section.update(experiment="secure"))
    for folder in ("home", "tmp", "cache"):
        (tmp_path / folder).mkdir()
    own = {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DVC_SITE_CACHE_DIR": str(tmp_path / "cache/dvc"),
    }
    said, lines = "", set()
    for command in (("dvc", "repro", "--force"), (sys.executable, "-m", "cf.cli", "sync")):
        with (tmp_path / "said").open("w+") as output:
            process = subprocess.Popen(
                command,
                cwd=ours.folder,
                env={**environment(), **own, **server.as_user(*member)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            while process.returncode is None:
                lines |= command_lines()
                try:
                    process.wait(0.1)
                except subprocess.TimeoutExpired:
                    continue
            output.seek(0)
            said += output.read()
        assert process.returncode == 0, said
    assert "warning" not in said
    log_in(monkeypatch, server.as_user(*member))
    run = check_all_is_there(server, ours, "secure")
    assert "backfilled" not in run.data.tags
    secrets = forms(*member)
    assert "stages.train" in " ".join(lines)
    for text in (said, *lines):
        assert not [secret for secret in secrets if secret in text], text
    for name in ("mlflow", "mlflow_auth"):
        dump = server.shell(f"pg_dump {name}")
        assert not [secret for secret in secrets if secret in dump]
    for root in (tmp_path, server.root):
        for file in (path for path in root.rglob("*") if path.is_file()):
            content = file.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in content], file


def test_a_login_may_be_in_mlflows_file(
    server: SecureServer,
    member: tuple[str, str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """And a model may be larger than what nginx lets pass by default."""
    name, password = member
    (here / ".mlflow").mkdir()
    text = block("Each member writes the login once")
    text = text.replace("anna", name).replace("...", password)
    (here / ".mlflow/credentials").write_text(text)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
    params = (here / "params.yaml").read_text().replace("experiment: cf ", "experiment: file ")
    (here / "params.yaml").write_text(params)
    made = candidate("file")
    made.candidate = False
    Path("weights.bin").write_bytes(bytes(3_000_000))
    made.finish(files=[Path("weights.bin")])
    assert not record(made)
    ui.main(free_port())
    said = capfd.readouterr()
    assert said.err == ""
    assert said.out.startswith(f"MLflow: {server.address}/#/experiments/")
    assert redact(f"what {password} is") == "what *** is"
    (run,) = server.runs("file")
    (file,) = server.client().list_artifacts(run.info.run_id, "model")
    assert file.file_size == 3_000_000


def test_a_member_chooses_a_password(
    server: SecureServer, stranger: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, old = stranger
    new = f"another-{old}"
    log_in(monkeypatch, server.as_user(name, old))
    client = get_app_client("basic-auth", server.address)
    client.update_user_password(name, new, current_password=old)
    log_in(monkeypatch, server.as_user(name, new))
    assert client.get_user(name).username == name
    log_in(monkeypatch, server.as_user(*server.admin))
    client.update_user_password(name, old)


def test_somebody_without_rights_is_refused_in_words(
    server: SecureServer,
    member: tuple[str, str],
    stranger: tuple[str, str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    theirs = finished()
    theirs.experiment = "of the team"
    log_in(monkeypatch, server.as_user(*member))
    assert not record(theirs)
    assert capfd.readouterr().err == ""
    log_in(monkeypatch, server.as_user(*stranger))
    mine = finished()
    mine.experiment = "of the team"
    assert record(mine)
    said = capfd.readouterr().err
    assert re.search(r"403.*no right to do so.*administrator.*EDIT on the experiment", said), said
    assert stranger[1] not in said
    assert not MlflowClient(server.address).search_experiments(filter_string="name LIKE 'of %'")
    own = finished()
    own.experiment = "of one's own"
    assert not record(own)
    log_in(monkeypatch, server.as_user(*member))
    assert [run.data.tags["execution"] for run in server.runs("of the team")] == [theirs.id]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"MLFLOW_TRACKING_SERVER_CERT_PATH": ""},
            r"certificate cannot be verified \(self-signed certificate\): set MLFLOW_TRACKING_SERV",
        ),
        (
            {"MLFLOW_TRACKING_SERVER_CERT_PATH": "/nowhere.pem"},
            r"/nowhere.pem: MLFLOW_TRACKING_SERVER_CERT_PATH, or REQUESTS_CA_BUNDLE, must be",
        ),
        (
            {"MLFLOW_TRACKING_SERVER_CERT_PATH": "params.yaml"},
            r"MLFLOW_TRACKING_SERVER_CERT_PATH, or REQUESTS_CA_BUNDLE, names a file without",
        ),
        ({"host": "127.0.0.1"}, r"not valid for '127.0.0.1'\): MLFLOW_TRACKING_URI must have"),
        ({"scheme": "http"}, r"MLFLOW_TRACKING_URI must begin with https://, and as the password"),
        ({"direct": "https"}, r"it speaks no TLS there: MLFLOW_TRACKING_URI may have to begin"),
        ({"MLFLOW_TRACKING_PASSWORD": "wrong"}, r"401.*MLFLOW_TRACKING_PASSWORD.* are not those"),
    ],
)
def test_what_keeps_one_from_the_server_is_named(
    change: dict[str, str],
    expected: str,
    server: SecureServer,
    member: tuple[str, str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    log_in(monkeypatch, server.as_user(*member))
    address = {
        "host": server.address.replace("localhost", change.get("host", "")),
        "scheme": server.address.replace("https", change.get("scheme", "")),
        "direct": server.direct.replace("http", change.get("direct", "")),
    }
    for name, value in change.items():
        monkeypatch.setenv(
            *(("MLFLOW_TRACKING_URI", address[name]) if name in address else (name, value))
        )
    with pytest.raises(InputError, match=expected) as caught:
        ui.main(free_port())
    assert record(finished())
    said = capfd.readouterr().err
    assert re.search(expected, said), said
    assert said.count("warning") == 1
    for text in (said, str(caught.value)):
        assert not [secret for secret in forms(*member) if secret in text]
        assert "Traceback" not in text


def test_a_backup_restores_all(
    server: SecureServer, member: tuple[str, str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(monkeypatch, server.as_user(*member))
    assert not record(candidate("backed up"))
    server.shell(server.block("`/etc/cron.daily/mlflow-backup`"))
    (backup,) = (server.root / "backups").iterdir()
    assert not record(candidate("made later"))
    restore = server.block("To restore a backup").replace("2026-01-31T062500", backup.name)
    server.stop()
    shutil.rmtree(server.root / "lib/artifacts")
    server.shell(restore)
    server.start()
    (run,) = server.runs("backed up")
    assert server.files(run) == {"images", "model", "predicted", "report"}
    local = server.client().download_artifacts(run.info.run_id, "model/weights.bin", str(here))
    assert Path(local).read_text() == "w"
    assert server.client().search_model_versions(f"run_id = '{run.info.run_id}'")
    assert not server.runs("made later")
    assert not record(candidate("goes on"))
    assert (backup / "etc/environment").stat().st_mode & 0o077 == 0
    assert {"mlflow.service", "add_member.py"} < {path.name for path in backup.iterdir()}


def test_the_commands_of_an_upgrade_are_mlflows(server: SecureServer) -> None:
    steps = server.block("## 8. Upgrades").splitlines(keepends=True)
    upgrades = [line for line in steps if " db upgrade " in line]
    assert len(upgrades) == 2
    server.shell("".join(upgrades))
