"""Ingest on Ray writes the bytes that it writes in memory, from however many parts, and refuses
what it refuses there.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pyarrow import parquet

pytest.importorskip("ray", reason="no Ray here: make ray")

from cf.core import config
from cf.core.config import Ingest
from cf.core.errors import InputError
from cf.data import ratings_file
from cf.distributed import ingest, parts
from stages import ingest as stage
from tests.ingest_files import write_params

pytestmark = pytest.mark.xdist_group("ray")
N_ROWS = 3_000  # of each file
SECONDS = np.int64(1_200_000_000)
Frame = pd.DataFrame
NAMED = {"user_id": "userId", "item_id": "movieId", "rating": "rating", "timestamp": "timestamp"}


@pytest.fixture(scope="module")
def ray(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[config.Ray]:
    """Settings whose storage is empty in the end."""
    storage = tmp_path_factory.mktemp("storage")
    yield config.Ray(address=address, workers=2, storage=str(storage), max_failures=0)
    assert list(storage.iterdir()) == []


@pytest.fixture(autouse=True)
def _small_parts(connected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 1000)


def ratings(number: int, n: int = N_ROWS) -> Frame:
    """Of a file: pairs repeat within it and in other files, later users appear in later files."""
    draw = np.random.default_rng(number)
    users = (draw.random(n) * np.linspace(20 + 30 * number, 60 + 30 * number, n)).astype(np.int64)
    items = draw.integers(0, 150, n) * 3
    times = SECONDS + draw.integers(0, 500, n)  # often the same
    stars = draw.integers(1, 11, n) / 2
    return pd.DataFrame({"userId": users, "movieId": items, "rating": stars, "timestamp": times})


def few_names(_: int, frame: Frame) -> Frame:
    """Ids as numbers with a sign between thousands, but for one without a rating."""
    names = frame["userId"].map("{}.000".format)
    names[7] = "x"
    return frame.assign(userId=names, rating=frame["rating"].where(names != "x", 2.5))


def once(frame: Frame) -> Frame:
    return frame.drop_duplicates(["userId", "movieId"])


def write(folder: Path, *frames: Frame) -> list[Path]:
    """A folder of files with row groups of 500 rows."""
    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(frames):
        frame.to_parquet(folder / f"part-{number}.parquet", index=False, row_group_size=500)
    return sorted(folder.iterdir())


def four(change: Callable[[int, Frame], Frame] = lambda _, frame: frame) -> list[Frame]:
    return [change(number, ratings(number)) for number in range(4)]


def as_text(number: int, frame: Frame) -> Frame:
    """Ids of users are text in two files of four, so that they are in all of them."""
    names = frame["userId"].astype("str" if number % 2 else "int64")
    items = "ü" + frame["movieId"].astype("str")
    return frame.assign(userId=names.astype("category") if number == 1 else names, movieId=items)


def in_days(_: int, frame: Frame) -> Frame:
    days = pd.to_datetime(frame["timestamp"] // 500 * 500, unit="s").dt.strftime("%Y%m%d")
    return frame.assign(timestamp=days.astype("int64"))


def both(
    files: list[Path], settings: Ingest, ray: config.Ray, folder: Path
) -> tuple[ratings_file.Contents, ratings_file.RatingsFile]:
    """What there is beside ratings, on Ray and in memory, with ratings of the same bytes."""
    found = ingest.ingest_on_ray(ray, files, settings, folder / "ray.parquet")
    expected = ratings_file.read(files, settings)
    ratings_file.write(folder / "local.parquet", expected.ratings)
    assert (folder / "ray.parquet").read_bytes() == (folder / "local.parquet").read_bytes()
    return found, expected


@pytest.mark.parametrize(
    ("frames", "stated"),
    [
        (four(), {"repeats": "last", "missing": [2.5]}),
        (four(as_text), {"repeats": "mean"}),
        (four(few_names), {"repeats": "last", "missing": [2.5]}),
        ([*four(in_days)[:2], ratings(0, 0), ratings(5)[:1].assign(timestamp=20080101)],
         {"repeats": "first"}),
        ([once(pd.concat(four())).drop(columns="timestamp")], {}),
        ([once(pd.concat(four()))[["userId", "movieId"]]], {"feedback": "implicit"}),
        ([once(ratings(0)).assign(block="B1", user=0, row=1)], {"columns": NAMED}),
        (four(lambda _, frame: frame.assign(timestamp=frame["timestamp"] * 1000)),
         {"repeats": "last", "rating_range": [0.5, 6]}),
    ],
    ids=["numbers", "text", "left out", "dates", "no times", "interactions", "names", "ms"],
)  # fmt: skip
def test_ratings_are_ingested_to_the_same_bytes(
    tmp_path: Path, ray: config.Ray, frames: list[Frame], stated: dict[str, Any]
) -> None:
    files = write(tmp_path / "own", *frames)
    settings = Ingest(dataset=str(tmp_path / "own"), fallback=None, **stated)
    assert len(parts.parts_of_files(files)[0]) > len(frames)
    found, expected = both(files, settings, ray, tmp_path)
    for name, value in vars(found).items():
        if isinstance(value, Frame):
            pd.testing.assert_frame_equal(value, getattr(expected, name))
        else:
            assert value == getattr(expected, name), name
    assert bool(found.n_repeats) == ("repeats" in stated)


def changed(row: int, **values: Any) -> Callable[[int, Frame], Frame]:
    """In the third file, other values in a row."""

    def change(number: int, frame: Frame) -> Frame:
        if number == 2:
            for name, value in values.items():
                frame[name] = frame[name].astype(object if isinstance(value, str) else "float64")
                frame.loc[row, name] = value
        return frame

    return change


def with_dots(_: int, frame: Frame) -> Frame:
    return frame.assign(userId=frame["userId"].map("{}.000".format))


def dates_in_one(number: int, frame: Frame) -> Frame:
    return frame.assign(timestamp="2015-01-01") if number == 3 else frame


@pytest.mark.parametrize(
    ("frames", "stated", "message"),
    [
        (four(changed(1234, userId=5000, rating=np.inf)), {"repeats": "last"},
         r"own, part-2.parquet row 1235: rating is not a finite number"),
        (four(changed(1234, userId=5000, rating=9)), {"repeats": "last", "rating_range": [0.5, 5]},
         r"own, part-2.parquet row 1235: rating is out of range"),
        (four(changed(2800, rating=np.nan)), {},
         r"part-2.parquet, row 2801, column rating: expected a value"),
        (four(changed(7, timestamp=np.nan)), {}, r"part-2.parquet, row 8, column timestamp"),
        (four(), {}, r"own, part-0.parquet row \d+: a user may rate an item once, got .* such row"),
        ([ratings(0)[:0], ratings(1)[:0]], {"feedback": "explicit"}, "holds no ratings"),
        (four(lambda _, frame: frame.assign(timestamp=-(10**17))), {"repeats": "last"},
         "are no times in s, ms"),
        (four(dates_in_one), {"repeats": "last"},
         "part-3.parquet, row 1, column timestamp: expected a number, or a date, as in the rows"),
        (four(with_dots), {}, r"column userId: expected ids, got numbers such as 12\.000"),
    ],
    ids=["infinite", "range", "missing", "time", "repeats", "empty", "unit", "dates", "thousands"],
)  # fmt: skip
def test_what_is_refused_is_what_is_refused_in_memory(
    tmp_path: Path, ray: config.Ray, frames: list[Frame], stated: dict[str, Any], message: str
) -> None:
    files = write(tmp_path / "own", *frames)
    settings = Ingest(dataset=str(tmp_path / "own"), fallback=None, **stated)
    require_same_message(files, settings, ray, tmp_path, message)


def require_same_message(
    files: list[Path], settings: Ingest, ray: config.Ray, folder: Path, message: str
) -> None:
    """The same on Ray and in memory, in one line, and no file."""
    with pytest.raises(InputError, match=message) as found:
        ingest.ingest_on_ray(ray, files, settings, folder / "ray.parquet")
    with pytest.raises(InputError) as expected:
        ratings_file.read(files, settings)
    assert str(found.value) == str(expected.value)
    assert "\n" not in str(found.value)
    assert not (folder / "ray.parquet").exists()


def test_a_damaged_row_group_is_named(tmp_path: Path, ray: config.Ray) -> None:
    files = write(tmp_path / "own", *four())
    content = bytearray(files[3].read_bytes())
    chunk = parquet.read_metadata(files[3]).row_group(5).column(0)
    content[chunk.dictionary_page_offset : chunk.dictionary_page_offset + 40] = bytes(40)
    files[3].write_bytes(content)
    settings = Ingest(dataset=str(tmp_path / "own"), fallback=None, repeats="last")
    require_same_message(files, settings, ray, tmp_path, r"part-3.parquet: cannot be read \(.*\)")


def test_messages_name_files_as_they_are_given(
    tmp_path: Path, ray: config.Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write(tmp_path / "own", *four(changed(2800, rating=np.nan)))
    (tmp_path / "other").mkdir()
    link = tmp_path / "other/link.parquet"
    link.symlink_to(files[2])
    monkeypatch.chdir(tmp_path / "other")
    settings = Ingest(dataset="../own", fallback=None)
    for given in (Path("../own/part-2.parquet"), Path("link.parquet")):
        require_same_message([given], settings, ray, tmp_path, rf"{given.name}, row 2801")


def test_many_small_files_are_read_together(tmp_path: Path, ray: config.Ray) -> None:
    frame = once(pd.concat(four()))
    files = write(tmp_path / "own", *(frame[start : start + 60] for start in range(0, 3000, 60)))
    assert len(files) == 50
    bundles = parts.bundled(parts.parts_of_files(files)[0])
    assert [sum(part.n_rows for part in bundle) for bundle in bundles] == [1020, 1020, 960]
    settings = Ingest(dataset=str(tmp_path / "own"), fallback=None)
    found, expected = both(files, settings, ray, tmp_path)
    assert found.n_ratings == expected.n_ratings == 3000


def test_what_workers_wrote_where_it_is_not_seen_is_missed(
    tmp_path: Path, ray: config.Ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ingest.parts_written

    def elsewhere(written: list[Path], n_rows: int) -> list[parts.Part]:
        written[1].unlink()
        return read(written, n_rows)

    monkeypatch.setattr(ingest, "parts_written", elsewhere)
    files = write(tmp_path / "own", *four())
    settings = Ingest(dataset=str(tmp_path / "own"), fallback=None, repeats="last")
    with pytest.raises(InputError, match=r"ray.storage: expected 8,172 ratings .* got 7,562"):
        ingest.ingest_on_ray(ray, files, settings, tmp_path / "ray.parquet")
    assert not (tmp_path / "ray.parquet").exists()


def test_the_stage_reads_a_folder_at_a_url(
    tmp_path: Path,
    ray: config.Ray,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = []

    def spy(*arguments: Any) -> ratings_file.Contents:
        given.extend(arguments[1])
        return on_ray(*arguments)

    on_ray = ingest.ingest_on_ray
    monkeypatch.setattr(ingest, "ingest_on_ray", spy)
    write(tmp_path / "own", once(ratings(0)), ratings(9)[:0])
    monkeypatch.chdir(tmp_path)
    written = {}
    for launcher in ("ray", "local"):
        write_params(tmp_path, f"file://{tmp_path}/own", columns={})
        with Path("params.yaml").open("a") as file:
            yaml.safe_dump({"launcher": launcher, "ray": ray.model_dump()}, file)
        stage.main()
        folder = Path("data/ingested")
        contents = {each.name: each.read_bytes() for each in folder.iterdir()}
        written[launcher] = contents, capsys.readouterr().out
        shutil.rmtree(folder)
    assert len(written["ray"][0]) == 5
    assert written["ray"] == written["local"]
    assert [path.name for path in given] == ["part-0.parquet", "part-1.parquet"]
    assert Path(ray.storage) in given[0].parents  # where all machines read the copy


def test_files_that_workers_do_not_read_are_read_here(
    tmp_path: Path,
    ray: config.Ray,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    once(ratings(0)).to_csv("ratings.csv", index=False)
    write_params(tmp_path, "ratings.csv", columns={})
    with Path("params.yaml").open("a") as file:
        yaml.safe_dump({"launcher": "ray", "ray": ray.model_dump()}, file)
    stage.main()
    assert "read on this machine" in capsys.readouterr().out
    assert len(pd.read_parquet("data/ingested/ratings.parquet")) == len(once(ratings(0)))
