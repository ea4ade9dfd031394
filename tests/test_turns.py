"""One call at a time holds a turn, and no interruption keeps it held."""

import random
import signal
import threading

import pytest

from lightfm_fast._turns import Turn


class Interruption(BaseException):
    """Ctrl-C, but pytest goes on after it."""


def train_until_interrupted(turn, seconds):
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        while True:
            with turn.taken(hands_over=True), turn.taken():  # as fit, which calls fit_partial
                pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers that send signals")
def test_an_interruption_at_any_time_frees_the_turn():
    def interrupt(*_):
        raise Interruption

    before, rng = signal.signal(signal.SIGALRM, interrupt), random.Random(0)
    try:
        for _ in range(2000):
            turn = Turn()
            with pytest.raises(Interruption):
                train_until_interrupted(turn, rng.uniform(1e-6, 2e-5))
            assert not turn.is_taken
            with turn.taken():
                assert turn.is_taken
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_thread_shares_only_a_turn_that_it_was_handed():
    turn, refused = Turn(), []

    def other():
        with pytest.raises(RuntimeError, match="is being trained already"), turn.taken():
            pass
        refused.append(True)

    with turn.taken(hands_over=True):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with turn.taken(), pytest.raises(RuntimeError, match="is being trained already"), turn.taken():
            pass
        assert turn.is_taken
    assert refused == [True]
    assert not turn.is_taken
