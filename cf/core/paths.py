"""Every artifact's path, relative to the root of the project."""

from pathlib import Path

PARAMS = Path("params.yaml")
PIPELINE = Path("dvc.yaml")

INGESTED = Path("data/ingested")
RATINGS = INGESTED / "ratings.parquet"
ITEMS = INGESTED / "items.parquet"
USERS = INGESTED / "users.parquet"
TAGS = INGESTED / "tags.parquet"
PROVENANCE = INGESTED / "provenance.json"

ENCODED = Path("data/encoded")
ENCODED_RATINGS = ENCODED / "ratings.parquet"
ENCODED_USERS = ENCODED / "users.parquet"  # with features, by index
ENCODED_ITEMS = ENCODED / "items.parquet"  # with title, year, genres and features, by index
ENCODED_TAGS = ENCODED / "tags.parquet"  # one a row, with the index of the item

SPLIT = Path("data/split")
TRAIN = SPLIT / "train.parquet"
VALID = SPLIT / "valid.parquet"
TEST = SPLIT / "test.parquet"  # where split.test of params.yaml is true
SPLIT_FILES = {"train": TRAIN, "valid": VALID, "test": TEST}
SPLIT_INFO = SPLIT / "split.json"
SPLIT_PROVENANCE = SPLIT / "provenance.json"

MODELS = Path("models")
BLEND = Path("blend")  # who rates what, and how much predicted ratings count beside it
UNFINISHED = Path(".dvc/tmp/unfinished")  # trainings; neither DVC nor git looks there
RUNS = Path("runs")

REPORTS = Path("reports")
HISTORY = REPORTS / "history"
METRICS = REPORTS / "metrics.json"
DATA = REPORTS / "data.json"
LEADERBOARD = REPORTS / "leaderboard.csv"
STRATA = REPORTS / "strata.csv"
RANKING = REPORTS / "ranking.csv"
PREDICTIONS = REPORTS / "predictions.parquet"
COVERAGE = REPORTS / "coverage.csv"  # calibration: of the intervals at each level
DECILES = REPORTS / "deciles.csv"  # calibration: RMSE by decile of predicted standard deviation
FIGURES = REPORTS / "figures"
GRID = REPORTS / "grid.png"
CV = REPORTS / "cv.csv"
VECTOR_FIGURES = REPORTS / "svg"
REPORT = REPORTS / "index.html"

# {model: id of its run record}: which training a result belongs to; not in git
EVALUATED_RUNS = REPORTS / "evaluated_runs.json"
RANKED_RUNS = REPORTS / "ranked_runs.json"
DRAWN_RUNS = VECTOR_FIGURES / "runs.json"

STORE = Path("mlruns/mlflow.db")
