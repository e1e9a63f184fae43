"""How far a training on Ray is, told by its workers and asked for by the driver.

A module of its own: the actor's process imports it, and so it must not import PyTorch.
"""


class ProgressActor:
    """Where the first worker says how far the training is, and the driver asks."""

    def __init__(self) -> None:
        self.n_ratings, self.epochs, self.error = 0, dict[int, tuple[float, ...]](), ""

    def advance(self, n_ratings: int) -> None:
        """So many ratings are done, in all epochs."""
        self.n_ratings = n_ratings

    def record_epoch(self, numbers: tuple[float, ...], n_ratings: int) -> None:
        """An epoch has ended, with these numbers; after a failure, perhaps again."""
        self.epochs[int(numbers[0])] = numbers
        self.n_ratings = n_ratings

    def set_error(self, message: str) -> None:
        """What kept a worker from going on."""
        self.error = message

    def state(self) -> tuple[int, dict[int, tuple[float, ...]], str]:
        """The ratings done, the epochs that have ended, and the last error if there was one."""
        return self.n_ratings, self.epochs, self.error
