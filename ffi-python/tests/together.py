"""Runs works of several threads at once."""

import threading
from collections.abc import Callable, Iterable


def failures_of(works: Iterable[Callable[[int], object]], rounds: int) -> list[BaseException]:
    """Calls each work with the number of the round in a thread of its own; returns what ended threads early."""
    failures: list[BaseException] = []

    def run(work: Callable[[int], object]) -> None:
        try:
            for n in range(rounds):
                work(n)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures
