"""A training that is interrupted, wherever in an epoch, goes on to the same bits."""

import hashlib
import signal
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import cf.models
from cf.core import config, paths
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.training import device, fast_gradients, optim, resume
from cf.training import fit as loop
from cf.training.checkpoint import ModelSpec
from cf.training.graph import N_WARM_UP, RepeatedSteps
from cf.training.resume import ResumePoint
from tests import trained
from tests.devices import GPU, SimulatedGpu, recorded
from tests.project import Project
from tests.stores import client

Pair = tuple[Ratings, Ratings]
CPU = torch.device("cpu")
SECTIONS = yaml.safe_load(trained.PARAMS.read_text())
MODELS = {
    section["model"]["name"]: section["model"]
    | ({"n_factors": 4} if "n_factors" in section["model"] else {})
    for name, section in SECTIONS.items()
    if name.startswith("train_") and "optimizer" in section
}
MODELS["dotbias_genres"] = {**MODELS["dotbias"], "name": "dotbias_genres"}
COMPILED = ["dot", "dotbias", "dotbias_ensemble"]
OPTIMIZERS = {
    "sgd": config.SGD(name="sgd", momentum=0.9, weight_decay=0.01),
    "sgd without momentum": config.SGD(name="sgd", momentum=0.0, weight_decay=0.0),
    "adam": config.Adam(name="adam", betas=[0.9, 0.99], weight_decay=0.01),
    "rowwise_adagrad": config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.01),
}
ITEMS = trained.ITEMS.assign(genres=["War", "", "Drama|War", "Drama"] * (trained.N_ITEMS // 4))
SCHEDULE = config.Schedule(n_epochs=[1, 2], learning_rate=[0.02, 0.01], anneal="cosine")


@pytest.fixture(autouse=True)
def _with_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract holds for a model that uses item features, too."""
    folder = str(Path(__file__).parent / "example_models")
    monkeypatch.setattr(cf.models, "__path__", [*cf.models.__path__, folder])


class Training:
    """A training on made-up ratings, which Ctrl-C may interrupt after a step.

    A state is due every `interval` steps. Time stands still within a step.
    """

    def __init__(
        self,
        name: str,
        optimizer: str,
        pair: Pair,
        batch_size: int = 64,
        file: Path | None = None,
        interval: int = 7,
        stop: int = 0,
        place: torch.device = CPU,
        n_threads: int = 1,
    ) -> None:
        device.prepare(CPU, n_threads, seed=0)
        spec = ModelSpec.from_data(MODELS[name], trained.FACTS, ITEMS, "test")
        self.model = spec.build("test").to(place)
        self.optimizer = optim.build(OPTIMIZERS[optimizer], self.model, len(pair[0]))
        self.advances: list[int] = []  # of ratings
        self.epochs: list[loop.EpochResult] = []
        point = ResumePoint(file, "here", interval, lambda: len(self.advances)) if file else None

        def on_batch(n_ratings: int) -> None:
            self.advances.append(n_ratings)
            if len(self.advances) == stop:
                raise KeyboardInterrupt

        arguments = self.model, *pair, self.optimizer, SCHEDULE, batch_size, on_batch, point
        try:
            for epoch in loop.fit(*arguments):
                self.epochs.append(epoch)
            self.was_interrupted = False
        except KeyboardInterrupt:
            self.was_interrupted = True
        self.drawn = torch.rand(3)  # by who draws next

    def losses(self) -> list[tuple[float, ...]]:
        return [(e.epoch, e.train_loss, e.valid_loss, e.learning_rate) for e in self.epochs]

    def tensors(self) -> dict[str, Tensor]:
        of_optimizer = [tensor for list_ in self.optimizer.state for tensor in list_]
        named = {str(i): tensor for i, tensor in enumerate(of_optimizer)}
        all_ = self.model.state_dict() | named | {"drawn": self.drawn}
        return {name: tensor.cpu() for name, tensor in all_.items()}


def assert_resumes(train: Callable[..., Training], file: Path, *interruptions: int) -> None:
    """Interrupt a training after each of these numbers of steps since it last began, then not.

    It ends as it does without interruptions, and no step that is in the state is taken again.
    """
    whole = train()
    n_ratings = 0
    for stop in (*interruptions, 0):
        again = train(file=file, stop=stop)
        assert again.was_interrupted == bool(stop)
        if n_ratings:
            assert again.advances[0] == n_ratings
        saved = ResumePoint(file, "here").load()
        assert saved
        n_ratings = int(saved["n_ratings"])
    assert again.losses() == whole.losses()
    assert sum(again.advances) == sum(whole.advances)
    expected = whole.tensors()
    for name, tensor in again.tensors().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_resumes_with_every_optimizer(
    name: str, optimizer: str, planted: Pair, tmp_path: Path
) -> None:
    """In the first epoch, the second and the third, which have 40 steps each."""
    train = partial(Training, name, optimizer, planted)
    assert_resumes(train, tmp_path / "state", 20, 40, 50)


@pytest.mark.parametrize("name", COMPILED)
def test_without_compiled_gradients_too(
    name: str, planted: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_gradients, "batch_kernel", lambda: None)
    train = partial(Training, name, "rowwise_adagrad", planted)
    assert_resumes(train, tmp_path / "state", 20, 40, 50)


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_epochs_resume_between_two_blocks(
    name: str, n_threads: int, planted: Pair, tmp_path: Path
) -> None:
    """An epoch is 64 blocks, some of which are under way when a state is due."""
    options: dict[str, Any] = {"batch_size": 1, "n_threads": n_threads}
    train = partial(Training, name, "rowwise_adagrad", planted, **options)
    assert_resumes(train, tmp_path / "state", 40, 50, 60)
    (tmp_path / "state").unlink()
    assert_resumes(partial(train, interval=1), tmp_path / "state", 20)


@pytest.mark.parametrize("name", COMPILED)
def test_so_does_their_order_without_a_compiler(
    name: str, planted: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cf.training.compiled._kernel", lambda: None)
    small = planted[0].take(np.arange(200)), planted[1]
    train = partial(Training, name, "rowwise_adagrad", small, batch_size=1)
    assert_resumes(train, tmp_path / "state", 90, 150, 100)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("dotbias_ensemble", "rowwise_adagrad"), ("embnet", "adam"), ("dotbias_genres", "sgd")],
)
def test_repeated_steps_on_a_gpu_resume(
    name: str, optimizer: str, planted: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after steps 7 and 9 of 10, where too few are left of the epoch to capture one; and where
    a state is due while the first steps, which are taken at once, are counted.
    """
    monkeypatch.setattr(fast_gradients, "distinct", lambda rows: rows)
    monkeypatch.setattr(loop, "can_repeat", lambda *given: True)
    capture = partial(recorded, n_warm_up=N_WARM_UP)
    monkeypatch.setattr(loop, "RepeatedSteps", partial(RepeatedSteps, capture=capture))
    train = partial(Training, name, optimizer, planted, batch_size=256, place=GPU)
    with SimulatedGpu():
        assert_resumes(partial(train, interval=4), tmp_path / "one", 15, 9)
        assert_resumes(partial(train, interval=7), tmp_path / "two", 8)
        assert_resumes(partial(train, interval=2), tmp_path / "three", 4)


@pytest.mark.parametrize("interval", [39, 40, 41])
def test_it_resumes_at_the_end_of_an_epoch(interval: int, planted: Pair, tmp_path: Path) -> None:
    train = partial(Training, "embnet", "adam", planted, interval=interval)
    assert_resumes(train, tmp_path / "state", 43)


def test_another_interruption_before_the_next_state_loses_nothing_more(
    planted: Pair, tmp_path: Path
) -> None:
    train = partial(Training, "embnet", "adam", planted)
    assert_resumes(train, tmp_path / "state", 60, 3, 1, 2)


def test_the_seconds_of_an_epoch_are_those_before_and_after(
    planted: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes a second here; the six after the state, which are taken again, count once."""
    steps: list[int] = []
    monkeypatch.setattr(resume.time, "perf_counter", lambda: float(len(steps)))
    step = loop._step

    def counted(*given: Any) -> Tensor:
        steps.append(1)
        return step(*given)

    monkeypatch.setattr(loop, "_step", counted)
    Training("dot", "adam", planted, file=tmp_path / "state", stop=60)
    steps.clear()
    again = Training("dot", "adam", planted, file=tmp_path / "state")
    assert [epoch.seconds for epoch in again.epochs] == [40, 40, 40]
    assert len(steps) == 3 * 40 - 56


def test_a_training_shorter_than_the_interval_writes_nothing(planted: Pair, tmp_path: Path) -> None:
    whole = Training("dot", "adam", planted, file=tmp_path / "state", interval=121)
    assert len(whole.advances) == 120
    assert not list(tmp_path.iterdir())


def flipped(content: bytes) -> bytes:
    return content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:]


@pytest.mark.parametrize("damage", [flipped, lambda x: x[:100], lambda x: x[:-100], lambda x: b""])
def test_a_damaged_state_is_named_and_the_training_begins_anew(
    damage: Callable[[bytes], bytes], planted: Pair, tmp_path: Path
) -> None:
    file = tmp_path / "state"
    Training("dotbias", "adam", planted, file=file, stop=50)
    assert ResumePoint(file, "here").note() == "the training goes on where it was interrupted."
    file.write_bytes(damage(file.read_bytes()))
    assert ResumePoint(file, "here").load() is None
    assert ResumePoint(file, "here").note() == f"{file} is damaged: the training begins anew."
    again = Training("dotbias", "adam", planted, file=file)
    assert len(again.advances) == 120
    assert again.losses() == Training("dotbias", "adam", planted).losses()
    for _ in range(2):
        ResumePoint(file, "here").remove()
        assert not file.exists()
    assert ResumePoint(file, "here").note() == ""


def test_the_state_of_another_training_is_ignored_and_replaced(
    planted: Pair, tmp_path: Path
) -> None:
    file = tmp_path / "state"
    other = ResumePoint(file, "elsewhere")
    other.save({"x": torch.zeros(2)})
    assert ResumePoint(file, "here").load() is None
    assert ResumePoint(file, "here").note() == ""
    assert len(Training("dot", "adam", planted, file=file).advances) == 120
    assert other.load() is None
    assert ResumePoint(file, "here").load()


def test_a_training_is_determined_by_section_device_data_code_and_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").write_text("1")
    Path("code").mkdir()
    Path("code/a.py").write_text("1")
    section = config.load(trained.PARAMS, "train_dotbias", config.Training)

    def fingerprint(section: config.Training = section, place: torch.device = CPU) -> str:
        point = ResumePoint.of("mine", section, place, [Path("data")], ["code/*.py"])
        assert point.path == paths.UNFINISHED / "mine.safetensors"
        return point.fingerprint

    found = [fingerprint()]
    assert fingerprint() == found[0]
    for key, value in (("seed", 2), ("n_threads", 2), ("batch_size", 65), ("schedule", SCHEDULE)):
        found.append(fingerprint(section.model_copy(update={key: value})))
    found.append(fingerprint(place=torch.device("cuda", 1)))
    for file in ("data", "code/a.py", "code/b.py"):
        Path(file).write_text("2")
        found.append(fingerprint())
    monkeypatch.setattr(torch, "__version__", "2.0")
    found.append(fingerprint())
    monkeypatch.setattr(resume, "version", lambda name: f"a new {name}")
    found.append(fingerprint())
    assert len(set(found)) == len(found)


def test_a_fingerprint_is_all_of_it_one_below_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    section = config.load(trained.PARAMS, "train_dotbias", config.Training)
    for name in ("z", "b.py", "a.py"):
        Path(name).write_text(name)
    monkeypatch.setattr(torch, "__version__", "2.0")
    monkeypatch.setattr(resume, "version", {"numba": "0.62"}.__getitem__)
    given = section, torch.device("cuda", 1), [Path("z")], ["b.*", "a.*"]
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in ("z", "a.py", "b.py")]
    expected = [section.model_dump_json(), "cuda:1", "2.0", "0.62", *digests]
    assert ResumePoint.of("mine", *given).fingerprint.splitlines() == expected

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(resume, "version", missing)
    assert ResumePoint.of("mine", *given).fingerprint.splitlines()[3] == "no numba"


def test_a_state_is_due_after_half_a_minute_of_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    point = ResumePoint(tmp_path / "state", "here", clock=lambda: now[0])
    for start in (1000.0, 1030.0):
        now[0] = start + 29.9
        assert not point.is_due()
        now[0] = start + 30.0
        assert point.is_due()
        point.save({})
    assert ResumePoint(tmp_path / "state", "here").clock is time.monotonic


def test_tensors_are_saved_with_their_names_whatever_their_layout(tmp_path: Path) -> None:
    file = tmp_path / "state"
    x, y = torch.arange(6.0).reshape(2, 3).T.requires_grad_(), torch.ones(3, 2)
    point = ResumePoint(file, "here")
    point.save({"y": y, "x": x})
    found = point.load()
    assert found
    assert sorted(found) == ["x", "y"]
    assert torch.equal(found["x"], x)
    assert torch.equal(found["y"], y)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    assert metadata["fingerprint"] == "here"
    checksum = zlib.crc32(
        y.numpy().data, zlib.crc32(b"y", zlib.crc32(found["x"].numpy().data, zlib.crc32(b"x")))
    )
    assert metadata["checksum"] == str(checksum)
    save_file({"x": found["y"], "y": found["x"]}, file, metadata)
    assert point.load() is None
    assert "is damaged" in point.note()
    save_file(found, file)
    assert point.note() == "", "nobody's"


@pytest.mark.parametrize("place", [CPU, torch.device("cuda", 1)])
def test_the_random_state_is_of_all_generators_that_are_drawn_from(
    place: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu = {place: torch.ones(1)}

    def set_state(state: Tensor, device: torch.device) -> None:
        on_gpu[device] = state

    monkeypatch.setattr(torch.cuda, "get_rng_state", on_gpu.__getitem__)
    monkeypatch.setattr(torch.cuda, "set_rng_state", set_state)
    state = resume.random_state(place)
    drawn, on_gpu[place] = torch.rand(3), torch.zeros(1)
    resume.set_random_state(state, place)
    assert torch.equal(torch.rand(3), drawn)
    assert sorted(state) == ["cpu_generator", "cuda_generator"][: 1 if place == CPU else 2]
    assert on_gpu[place].item() == (0 if place == CPU else 1)


def test_where_no_state_can_be_written_the_message_says_so(planted: Pair, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*file/state: Not a directory"):
        Training("dot", "adam", planted, file=tmp_path / "file/state")


def test_the_state_of_an_optimizer_of_torchs_is_not_known(planted: Pair, tmp_path: Path) -> None:
    model = ModelSpec.from_data(MODELS["dot"], trained.FACTS, ITEMS, "test").build("test")
    given = model, *planted, torch.optim.Adam(model.parameters()), SCHEDULE, 64
    expected = (
        r"^expected an optimizer of cf\.training\.optim, got <class 'torch\.optim\.adam\.Adam'>\.$"
    )
    with pytest.raises(TypeError, match=expected):
        next(loop.fit(*given, resume=ResumePoint(tmp_path / "state", "here")))


KILL_AFTER = """
import os, sys
from cf.training import resume

resume.INTERVAL_S = 0.0
save, n_saved = resume.ResumePoint.save, 0

def save_and_die(point, state):
    global n_saved
    save(point, state)
    n_saved += 1
    if n_saved == {n}:
        os.kill(os.getpid(), {signal})

resume.ResumePoint.save = save_and_die
sys.argv = ["stage", "{model}"]
from stages.{stage} import main
main()
"""


@pytest.mark.parametrize(
    ("model", "stage", "n"), [("dotbias", "train", 11), ("bayesmf", "sample", 1)]
)
def test_what_is_killed_in_its_second_epoch_is_one_finished_run_of_the_same_model(
    model: str, stage: str, n: int, made: Project, tmp_path: Path
) -> None:
    project = made.copy(tmp_path / "copy")
    code = KILL_AFTER.format(model=model, stage=stage, n=n, signal=int(signal.SIGKILL))
    assert project.run(sys.executable, "-c", code, check=False).returncode == -signal.SIGKILL
    state = project.folder / paths.UNFINISHED / f"{model}.safetensors"
    assert state.exists()
    said = project.run("dvc", "repro", "--force", "--single-item", f"train_{model}").stdout
    assert f"{model}: the training goes on where it was interrupted." in said
    assert not state.exists()
    for file in (f"models/{model}/weights.safetensors", f"reports/history/{model}.csv"):
        assert (project.folder / file).read_bytes() == (made.folder / file).read_bytes()
    runs = {
        run.data.tags["execution"]: run for run in project.runs() if run.data.tags["model"] == model
    }
    assert sorted(run.info.status for run in runs.values()) == ["FINISHED", "FINISHED", "KILLED"]
    resumed = runs[project.read(f"runs/{model}.json")["id"]]
    history = client(project.folder).get_metric_history(resumed.info.run_id, "loss/valid")
    assert [metric.step for metric in history] == [1, 2]
