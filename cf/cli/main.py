"""The program `cf`: every command with its arguments and its help.

A command's work is in the file of its name, which is imported when the command runs: `cf --help`
waits for no library.
"""

import sys
from importlib import import_module
from typing import Annotated, Any

import typer

from cf.core.errors import InputError, describe, print_anything

app = typer.Typer(
    help="Collaborative filtering as a workflow. Run it in the project's folder, or below it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run(command: str, *arguments: Any) -> None:
    """Call `main` of a command's file; where the input cannot be used, end in one plain line."""
    print_anything()
    try:
        import_module(f"cf.cli.{command}").main(*arguments)
    except InputError as error:
        print(f"cf {command}: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except BrokenPipeError:  # whoever read the output needs no more of it: typer ends quietly
        raise
    except OSError as error:  # a full disk, or a folder for temporary files that is none
        print(f"cf {command}: {describe(error)}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def show() -> None:
    """Print the leaderboard, and where to look next.

    \b
    Example:
      dvc repro && cf show
    """
    run("show")


Column = Annotated[str | None, typer.Option(help="name of the column, or number from 1")]


@app.command()
def inspect(
    file: Annotated[str, typer.Argument(help="a file, a folder, or a pattern in quotes")],
    items: Annotated[str | None, typer.Option(help="a table of items: titles, ...")] = None,
    users: Annotated[str | None, typer.Option(help="a table of users")] = None,
    user: Column = None,
    item: Column = None,
    rating: Column = None,
    time: Column = None,
    write: Annotated[bool, typer.Option("--write", help="into params.yaml")] = False,
) -> None:
    """Say what is in a file of ratings, and how to read it.

    It finds out the format and which column is what, and says why, and which lines cannot be
    read. The section of params.yaml that reads the file is printed, or written there.

    \b
    Examples:
      cf inspect data/own/ratings.csv
      cf inspect data/own/ratings.dat --items data/own/movies.dat
      cf inspect --write "data/own/*.csv.gz" && dvc repro
    """
    names = {"user_id": user, "item_id": item, "rating": rating, "timestamp": time}
    columns = {key: name for key, name in names.items() if name is not None}
    run("inspect", file, write, items, users, columns)


Model = Annotated[str | None, typer.Option(help="a trained model; the best if none is named")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
AsCsv = Annotated[bool, typer.Option("--csv", help="print CSV")]
Force = Annotated[bool, typer.Option("--force", help="overwrite a file")]
Number = Annotated[int, typer.Option("-n", help="how many", min=1, max=10_000)]
Ratings = Annotated[
    str | None,
    typer.Option(help="a file with somebody's ratings: item_id or title, rating"),
]


def form(as_json: bool, as_csv: bool) -> str:
    """What to print: table, json or csv."""
    if as_json and as_csv:
        raise typer.BadParameter("give one of --json and --csv")
    return "json" if as_json else "csv" if as_csv else "table"


@app.command()
def predict(
    item: Annotated[list[str], typer.Option(help="an id or a title; may be repeated")],
    user: Annotated[list[str] | None, typer.Option(help="an id; may be repeated")] = None,
    ratings: Ratings = None,
    time: Annotated[int | None, typer.Option(help="in seconds since 1970 UTC")] = None,
    model: Model = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Predict the rating that somebody would give to an item.

    Users and items that are not in the data get the model's answer for any such, and a note.

    \b
    Examples:
      cf predict --user 414 --item 356
      cf predict --user 414 --item "Forrest Gump" --item "Toy Story" --json
      cf predict --ratings mine.csv --item "Toy Story"
    """
    run("predict", user or [], item, ratings, time, model, form(as_json, as_csv))


@app.command()
def recommend(
    user: Annotated[str | None, typer.Option(help="an id")] = None,
    ratings: Ratings = None,
    everybody: Annotated[
        str | None, typer.Option("--all", help="a .parquet or .csv file for all users")
    ] = None,
    n: Number = 10,
    genre: Annotated[list[str] | None, typer.Option(help="of all items; may be repeated")] = None,
    year: Annotated[str | None, typer.Option(help="of release: 1995, 1990-1999, 2000-")] = None,
    min_ratings: Annotated[int, typer.Option(help="that an item needs", min=0)] = 0,
    by: Annotated[str, typer.Option(help="both, stars or likely")] = "both",
    force: Force = False,
    model: Model = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Recommend items to a user, or to somebody else.

    Somebody else is a file with ratings; --all writes the lists of all users into a file. Items
    that the person has rated are left out. The order is by predicted ratings and by who rates
    what; --by stars or --by likely takes one of the two.

    \b
    Examples:
      cf recommend --user 414
      cf recommend --user 414 --genre comedy --year 1990-1999 --min-ratings 20
      cf recommend --ratings mine.csv -n 20 --csv
      cf recommend --all lists.parquet
    """
    options = {"n": n, "by": by, "genre": genre or None, "year": year, "min_ratings": min_ratings}
    run("recommend", user, ratings, everybody, options, force, model, form(as_json, as_csv))


@app.command()
def similar(
    item: Annotated[str, typer.Option(help="an id or a title")],
    n: Number = 10,
    min_ratings: Annotated[int, typer.Option(help="that an item needs", min=0)] = 5,
    model: Model = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show the items that are most like one.

    \b
    Example:
      cf similar --item "Forrest Gump"
    """
    run("similar", item, n, min_ratings, model, form(as_json, as_csv))


@app.command()
def explain(
    item: Annotated[str, typer.Option(help="an id or a title")],
    user: Annotated[str | None, typer.Option(help="an id")] = None,
    ratings: Ratings = None,
    n: Number = 10,
    model: Model = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Show which ratings speak for an item, and which against it.

    \b
    Examples:
      cf explain --user 414 --item 356
      cf explain --ratings mine.csv --item "Toy Story"
    """
    run("explain", user, ratings, item, n, model, form(as_json, as_csv))


@app.command()
def score(
    pairs: Annotated[str, typer.Argument(help="a file with users and items")],
    out: Annotated[str, typer.Argument(help="a .parquet or .csv file to write")],
    force: Force = False,
    model: Model = None,
) -> None:
    """Predict the ratings of all pairs in a file.

    The file is read and written in batches, so it may be of any size.

    \b
    Example:
      cf score pairs.csv predicted.parquet
    """
    run("score", pairs, out, force, model)


@app.command()
def models(as_json: AsJson = False, as_csv: AsCsv = False) -> None:
    """List all trained models, the champion first.

    \b
    Example:
      cf models
    """
    run("models", form(as_json, as_csv))


@app.command()
def rate(
    out: Annotated[str | None, typer.Argument(help="a .csv file for the ratings")] = None,
    n: Annotated[int, typer.Option("-n", help="how many ratings", min=1)] = 10,
    add: Annotated[bool, typer.Option("--add", help="to the ratings in the file")] = False,
    force: Force = False,
    model: Model = None,
) -> None:
    """Ask for your ratings, and recommend items.

    Each question is about the item whose rating is expected to tell most about you. The list is
    shown after each answer. Ctrl-C ends as q does: what you have rated is kept.

    \b
    Examples:
      cf rate
      cf rate mine.csv && cf recommend --ratings mine.csv
      cf rate mine.csv --add
    """
    run("rate", out, n, add, force, model)


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="of this machine", min=1, max=65535)] = 8000,
    model: Model = None,
) -> None:
    """Serve a page to try a trained model in a browser, until Ctrl-C.

    \b
    Example:
      cf demo
    """
    run("demo", port, model)


@app.command()
def tune() -> None:
    """Search better values for one model's parameters.

    The section tune of params.yaml names the section to search, the ranges and the number of
    trials. The search sees the training rows alone. Ctrl-C ends it early and prints the best
    values so far.

    \b
    Example:
      dvc repro split && cf tune
    """
    run("tune")


@app.command()
def grid(
    axes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE,...]...", help="two parameters of one section"),
    ] = None,
    jobs: Annotated[int, typer.Option(help="pipelines at a time", min=1)] = 2,
) -> None:
    """Run experiments over two parameters: a heat map of RMSE.

    Every pair of values is an experiment of DVC, in a folder of its own. An earlier grid's
    experiments are replaced.

    \b
    Examples:
      cf grid     (which is the same as the next line)
      cf grid train_dotbias.model.n_factors=10,25,50 \\
          train_dotbias.optimizer.weight_decay=0.00005,0.0001,0.0002
      cf grid --jobs 4 train_embnet.model.n_hidden=5,10 train_embnet.seed=1,2
    """
    run("grid", axes, jobs)


@app.command()
def cv() -> None:
    """Cross-validate all models.

    Every fold with every seed is an experiment of DVC, in a folder of its own. The section cv of
    params.yaml has the number of folds, the seeds and how many pipelines run at a time. The
    table is written to reports/cv.csv.

    \b
    Example:
      cf cv
    """
    run("cv")


@app.command()
def rank() -> None:
    """Evaluate recommended items on a split by time.

    Trains on the older ratings, and looks for each user's latest ones among the items
    recommended. The section rank of params.yaml has the length of the lists.

    \b
    Example:
      cf rank     (its files: dvc exp apply rank-time)
    """
    run("rank")


@app.command()
def verify() -> None:
    """Run the pipeline anew in a clean folder, and compare.

    Says which files and metrics are others than the last commit has them, and ends with an error
    if that is more than another kind of machine explains.

    \b
    Example:
      cf verify
    """
    run("verify")


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="of this machine", min=1, max=65535)] = 5000,
) -> None:
    """Compare all runs in MLflow.

    Serves them on this machine until Ctrl-C; with MLFLOW_TRACKING_URI, opens that server's page.

    \b
    Examples:
      cf ui
      cf ui --port 5001
    """
    run("ui", port)


@app.command()
def sync() -> None:
    """Bring MLflow up to date.

    Every record in runs/ gets its run, with metrics and figures, where it has none yet.

    \b
    Examples:
      git pull && dvc pull && cf sync
      MLFLOW_TRACKING_URI=https://mlflow.example.org cf sync
    """
    run("sync")
