"""Print the leaderboard and where to look next."""

from rich.console import Console

from cf.evaluation import leaderboard
from stages import paths
from stages.stage import stage

NEXT = f"""\
Figures            {paths.FIGURES}/*.png, or all on one page: dvc plots show --open
Runs in MLflow     make ui
Change something   edit params.yaml, then make repro; or in one go:
                   dvc exp run -S train_dotbias.model.n_factors=100
Compare            dvc exp show, dvc metrics diff, dvc params diff"""


@stage
def main() -> None:
    """Print what `make repro` made."""
    leaderboard.show(paths.LEADERBOARD)
    Console(highlight=False).print(NEXT)


if __name__ == "__main__":
    main()
