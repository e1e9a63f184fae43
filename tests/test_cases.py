"""Ratings as people have them, each with what comes of it: `cf inspect` and ingest agree."""

import gzip
import io as bytes_io
import json
import zipfile
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from cf.cli import inspect
from cf.core import config, paths
from cf.core.config import Ingest
from cf.core.errors import InputError
from cf.core.ratings import Provenance
from cf.data import recognition
from stages import encode, ingest

ROOT = Path(__file__).parents[1]
draw = np.random.default_rng(0)
pairs = draw.permutation(12 * 9)[:60]
DATA = pd.DataFrame(
    {
        "userId": pairs // 9 + 1,
        "movieId": pairs % 9 + 101,
        "rating": draw.integers(1, 11, 60) / 2,
        "timestamp": draw.integers(10**9, 16 * 10**8, 60),
    }
)


def text(frame: pd.DataFrame = DATA, **options: Any) -> bytes:
    return frame.to_csv(index=False, **options).encode()


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = bytes_io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def zipped(content: bytes) -> bytes:
    buffer = bytes_io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("ratings.csv", content)
    return buffer.getvalue()


ISO = pd.to_datetime(DATA["timestamp"], unit="s").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
AS_TEXT = DATA["rating"].map("{:.1f}".format)
REPEATED = pd.concat([DATA, DATA.head(3).assign(rating=0.5, timestamp=5)])
READ = {
    "plain": text(),
    "brackets": text(),
    "gz": gzip.compress(text()),
    "zipped": zipped(text()),
    "semicolon": text(DATA, sep=";", quoting=1),
    "dat": text(DATA, header=False, sep="\x01").replace(b"\x01", b"::"),
    "tabs": text(DATA, sep="\t"),
    "bars": text(DATA, sep="|"),
    "blanks": text(DATA, sep=" ").replace(b" ", b"   "),
    "noheader": text(DATA, header=False),
    "sep": b"sep=,\n" + text(),
    "comment": b"# exported 2020\n" + text(),
    "space_header": text().replace(b",", b", "),
    "index_column": DATA.to_csv().encode(),
    "crlf": text(lineterminator="\r\n"),
    "bom": b"\xef\xbb\xbf" + text(),
    "float_ids": text(DATA.astype({"userId": float})),
    "float_time": text(DATA.astype({"timestamp": float})),
    "ms": text(DATA.assign(timestamp=DATA["timestamp"] * 10**3)),
    "us": text(DATA.assign(timestamp=DATA["timestamp"] * 10**6)),
    "ns": text(DATA.assign(timestamp=DATA["timestamp"] * 10**9)),
    "iso_time": text(DATA.assign(timestamp=ISO)),
    "json_lines": DATA.to_json(orient="records", lines=True).encode(),
    "parquet": parquet(DATA),
    "other_names": text(DATA.set_axis(["reviewerID", "asin", "overall", "unixReviewTime"], axis=1)),
    "other_order": text(DATA[["rating", "timestamp", "movieId", "userId"]]),
}
NAMES = {"brackets": "ratings [bold red]export[v2].csv", "math": "a$b$.csv"}
TEXT_IDS = {
    "unicode_ids": "użytkownik {}",
    "emails": "u{}@example.org",
    "zeros": "00{}",
    "hexid": "0x{}",
    "isbn": "{}X",
    "uuid": "123e4567-e89b-12d3-a456-4266141740{:02}",
    "commas": "Doe, {}",
    "quotes": 'the "{}"',
    "spreadsheet": "=1+{}",
    "markup": "[b]{}</b>",
}
STATED = {  # refused, unless what `cf inspect` finds is stated
    "decimal_comma": text(DATA.assign(rating=AS_TEXT.str.replace(".", ","))),
    "decimal_comma_semicolon": text(DATA, sep=";", decimal=","),
    "thousands": text(DATA.assign(movieId="1," + DATA["movieId"].astype(str))),
    "dup_time": text(REPEATED),
    "german_dates": text(
        DATA.assign(timestamp=pd.to_datetime(DATA["timestamp"], unit="s").dt.strftime("%d.%m.%Y"))
    ),
}
LINES = text().splitlines(keepends=True)
REFUSED = {
    "q_quote": (
        b'userId,movieId,rating,timestamp,tag\n1,10,4.0,1000,funny\n1,20,3.0,1001,"best of 90s\n'
        b'2,10,5.0,1002,ok\n2,20,2.0,1003,12" vinyl\n3,10,1.0,1004,ok\n3,20,2.5,1005,"a, b"\n',
        'line 3: a field opens with " and goes on over lines that look like rows',
    ),
    "trail": (text().replace(b"\n", b",\n").replace(b",\n", b"\n", 1), "line 2: expected 4 fields"),
    "footer": (text() + b"total,,,\n", "line 62"),
    "nul": (b"".join([*LINES[:9], b"1,2\0,3,4\n", *LINES[9:]]), "line 10"),
    "nan_mid": (b"".join([*LINES[:9], b"1,2,nan,4\n", *LINES[9:]]), "line 10: rating is not a fin"),
    "years": (text(DATA.assign(timestamp=2001)), "column timestamp: 2001 to 2001 are no times in"),
    "mixed_units": (
        text(DATA.assign(timestamp=[*DATA["timestamp"][:59], 10**12])),
        "are no times in s, ms, us or ns since 1970",
    ),
    "p_dur": (
        parquet(DATA.assign(timestamp=pd.to_timedelta(DATA["timestamp"], unit="s"))),
        "column timestamp: expected numbers or dates, got values of the type duration",
    ),
    "p_list": (
        parquet(DATA.assign(userId=[[1]] * 60)),
        "column userId: expected text or numbers, got values of the type list",
    ),
    "one_rating": (text(DATA.assign(rating=3.0)), "all ratings are 3, so there is nothing"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with the params.yaml of this one."""
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def own_file(content: bytes, name: str = "ratings.csv", **changes: Any) -> str:
    """The path of a file with this content, which params.yaml names as the data set."""
    paths.PARAMS.write_text((ROOT / "params.yaml").read_text())
    Path(name).write_bytes(content)
    set_ingest(dataset=name, **changes)
    return name


def set_ingest(**changes: Any) -> None:
    params = config.parse_yaml(paths.PARAMS.read_text())
    params["ingest"].update(changes)
    paths.PARAMS.write_text(yaml.safe_dump(params, sort_keys=False))


def ingested() -> pd.DataFrame:
    ingest.main()
    return pd.read_parquet(paths.RATINGS)


@pytest.mark.parametrize("name", READ)
def test_what_is_read_by_itself(here: Path, name: str) -> None:
    path = own_file(READ[name], NAMES.get(name, "ratings.csv"))
    expected = DATA.set_axis(["user_id", "item_id", "rating", "timestamp"], axis=1)
    pd.testing.assert_frame_equal(ingested(), expected.astype({"rating": "float32"}))
    inspect.main(path, write=True)
    stated = config.load(paths.PARAMS, "ingest", Ingest)
    assert stated.rating_range == [DATA["rating"].min(), DATA["rating"].max()]
    assert "auto" not in stated.columns.model_dump().values()
    pd.testing.assert_frame_equal(ingested(), expected.astype({"rating": "float32"}))


@pytest.mark.parametrize("kind", ["text", "parquet"])
@pytest.mark.parametrize("name", TEXT_IDS)
def test_ids_come_out_as_they_went_in(here: Path, name: str, kind: str) -> None:
    ids = DATA["userId"].map(TEXT_IDS[name].format)
    frame = DATA.assign(userId=ids)
    own_file(text(frame) if kind == "text" else parquet(frame))
    assert ingested()["user_id"].tolist() == ids.tolist()
    encode.main()
    users = pd.read_parquet(paths.ENCODED_USERS)["user_id"]
    rows = pd.read_parquet(paths.ENCODED_RATINGS)
    assert users[rows["user"]].tolist() == ids.tolist()


@pytest.mark.parametrize("name", STATED)
def test_what_is_read_once_it_is_stated(here: Path, name: str) -> None:
    path = own_file(STATED[name])
    with pytest.raises(SystemExit, match=r"ingest\.(layout|repeats)"):
        ingest.main()
    inspect.main(path, write=True)
    found = ingested()
    assert len(found) == 60
    assert found["rating"].tolist() == DATA["rating"].tolist()
    assert (found["item_id"] % 1000).tolist() == DATA["movieId"].tolist()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(here: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    content, said = REFUSED[name]
    path = own_file(content)
    before = sorted(file.name for file in here.rglob("*"))
    with pytest.raises(SystemExit) as caught:
        ingest.main()
    assert said in str(caught.value)
    assert sorted(file.name for file in here.rglob("*")) == before, "nothing is half written"
    with pytest.raises(InputError):
        inspect.main(path, write=True)


PAIRS = DATA[["userId", "movieId"]]
LOG = DATA.drop(columns="rating")
COUNTED = DATA.assign(rating=np.arange(1, 61)).rename(columns={"rating": "plays"})
INTERACTIONS = {
    "pairs": text(PAIRS),
    "pairs_without_names": text(PAIRS, header=False),
    "log": text(LOG),
    "log_without_names": text(LOG, header=False),
    "counts": text(COUNTED),
    "hours": parquet(COUNTED.rename(columns={"plays": "hours"})),
}


@pytest.mark.parametrize("name", INTERACTIONS)
def test_interactions_are_told_from_ratings(
    here: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = own_file(INTERACTIONS[name], "data.parquet" if name == "hours" else "ratings.csv")
    found = ingested()
    assert found["user_id"].tolist() == DATA["userId"].tolist()
    counts = np.arange(1, 61) if name in ("counts", "hours") else np.ones(60)
    assert found["rating"].tolist() == counts.tolist()
    assert json.loads(paths.PROVENANCE.read_text())["feedback"] == "implicit"
    inspect.main(path, write=True)
    assert "60 interactions" in capsys.readouterr().out
    stated = config.load(paths.PARAMS, "ingest", Ingest)
    assert stated.feedback == "implicit"
    pd.testing.assert_frame_equal(ingested(), found)


def test_stated_interactions_need_no_telling_name(here: Path) -> None:
    own_file(text(COUNTED.rename(columns={"plays": "z"})))
    with pytest.raises(SystemExit, match=r"recognized as rating .* or null if rows are interactio"):
        ingest.main()
    own_file(text(COUNTED), columns={"rating": "plays"}, feedback="explicit")
    ingested()
    assert json.loads(paths.PROVENANCE.read_text())["feedback"] == "explicit"
    own_file(text(COUNTED), columns={"rating": None})
    assert ingested()["rating"].eq(1).all()
    own_file(text(PAIRS), feedback="explicit")
    with pytest.raises(SystemExit, match="recognized as rating"):
        ingest.main()
    own_file(text(COUNTED.assign(plays=0)))
    with pytest.raises(SystemExit, match=r"line 2: expected a count of interactions, above 0"):
        ingest.main()


def test_models_of_ratings_refuse_interactions(here: Path) -> None:
    facts = Provenance(
        "plays.csv", "plays.csv", "here", "0", 60, 12, 9, (1, 1), "plays", "implicit"
    )
    with pytest.raises(InputError, match=r"^params.yaml: train_dot needs ratings, and plays.csv"):
        facts.require_ratings("params.yaml: train_dot")


def test_inspect_says_what_there_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = own_file(READ["dat"], "ratings.dat")
    inspect.main(path, write=False)
    printed = capsys.readouterr().out
    for part in (
        "fields separated by ::, without quotes",
        "no names: columns are 1, 2",
        "60 ratings from 0.5 to 5 in steps of 0.5",
        "12 different, whole numbers",
        "rating_range: [0.5, 5.0]",
        "--write",
    ):
        assert part in printed


def test_inspect_keeps_what_params_yaml_says(here: Path) -> None:
    inspect.main(own_file(READ["plain"]), write=False)
    paths.PARAMS.write_text((ROOT / "params.yaml").read_text())
    inspect.main("ratings.csv", write=True)
    before = (ROOT / "params.yaml").read_text().splitlines()
    after = paths.PARAMS.read_text().splitlines()
    changed = [line for line, other in zip(after, before, strict=True) if line != other]
    assert [line.split(":")[0].strip() for line in changed] == [
        *("dataset", "user_id", "item_id", "rating", "timestamp", "rating_range"),
    ]


def test_inspect_lists_ten_lines_that_cannot_be_read(here: Path) -> None:
    path = own_file(b"userId,movieId,rating\n1,2,3\n" + b"1,2\n" * 12)
    with pytest.raises(InputError) as caught:
        inspect.main(path, write=False)
    lines = str(caught.value).splitlines()
    assert lines[1] == "  line 3: expected 3 fields, got 2"
    assert len(lines) == 12


def test_a_value_that_may_mean_nothing_is_pointed_out(here: Path) -> None:
    path = own_file(text(DATA.assign(rating=[*DATA["rating"][:20], *[0.0] * 20, *[9.0] * 20])))
    assert recognition.recognize(path).facts[-1].endswith("set ingest.missing: [0]")


def test_a_range_of_dates(here: Path) -> None:
    path = own_file(READ["iso_time"])
    described = recognition.recognize(path).columns.set_index("is")["has"]["timestamp"]
    first = datetime.fromtimestamp(int(DATA["timestamp"].min()), UTC)
    assert described.startswith(f"{first:%Y-%m-%d %H:%M} to ")


def test_every_type_of_arrow_is_read_or_refused_by_name(here: Path) -> None:
    kinds = [
        *(pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.bool_(), pa.string(), pa.binary()),
        *(pa.large_string(), pa.large_binary(), pa.date32(), pa.date64(), pa.time32("s")),
        *(pa.timestamp("ns"), pa.timestamp("s", "Europe/Berlin"), pa.duration("ms"), pa.null()),
        *(pa.decimal128(9, 2), pa.list_(pa.int64()), pa.struct({"a": pa.int64()}), pa.binary(3)),
        pa.dictionary(pa.int8(), pa.string()),
    ]
    good = {"userId": [1, 2], "movieId": [1, 2], "rating": [1.0, 2.0], "timestamp": [5, 6]}
    for kind, name, missing in product(kinds, good, (True, False)):
        try:
            column = pa.array([None, None] if missing else good[name], kind)
        except (pa.ArrowException, TypeError, ValueError):
            continue
        pq.write_table(pa.table({**good, name: column}), "ratings.parquet")
        set_ingest(dataset="ratings.parquet")
        said = refusal()
        assert f"column {name}: " in said or (not said and not missing), (kind, name, said)


def refusal() -> str:
    """What ingest says against the data set; nothing if it takes it."""
    try:
        ingest.main()
    except SystemExit as error:
        return str(error)
    return ""
