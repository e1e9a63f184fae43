"""What DVC's queue says, as it is understood."""

from cf.cli.experiments import waiting

STATUS = """Task     Name     Created    Status
c5f3bb7  seed-14  12:50 PM   Running
5625749  seed-11  12:50 PM   Success
5625740  seed-12  12:50 PM   Failed
bd1bed3  seed-13  12:50 PM   Queued
45fd923           12:50 PM   Queued

Worker status: 1 active, 0 idle
"""


def test_what_runs_and_what_is_to_come_is_counted() -> None:
    assert waiting(STATUS) == "1 running, 2 queued"


def test_nothing_is_waited_for_when_all_have_ended() -> None:
    ended = [line for line in STATUS.splitlines() if not line.endswith(("Running", "Queued"))]
    assert not waiting("\n".join(ended))
    assert not waiting("No experiment tasks in the queue.\n\nWorker status: 0 active, 1 idle\n")
