"""Print the leaderboard and where to look next."""

from rich.console import Console

from cf.evaluation import leaderboard
from stages import paths
from stages.stage import stage

NEXT = f"""\
all on one page    {paths.REPORT}: open it in a browser
figures            {paths.FIGURES}/*.png
runs in MLflow     make ui
change something   edit params.yaml, then make repro; or in one go:
                   dvc exp run -S train_dotbias.model.n_factors=100
compare            dvc exp show, dvc metrics diff, dvc params diff
dvc itself         . .venv/bin/activate"""


@stage
def main() -> None:
    """Print what `make repro` made."""
    leaderboard.show(paths.LEADERBOARD)
    Console(highlight=False).print(NEXT)


if __name__ == "__main__":
    main()
