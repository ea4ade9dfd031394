"""Properties that are computed once."""

from threading import Event, Thread

from lightfm_fast._lazy import cached_property


class Answer:
    def __init__(self, compute):
        self.compute = compute

    @cached_property
    def value(self):
        return self.compute()


def test_a_value_is_computed_once():
    calls = []
    answer = Answer(lambda: calls.append(1) or 7)
    assert (answer.value, answer.value, calls) == (7, 7, [1])


def test_no_object_waits_for_another():
    computing, may_end = Event(), Event()
    slow, quick = Answer(lambda: (computing.set(), may_end.wait())), Answer(lambda: 7)
    threads = [Thread(target=getattr, args=(answer, "value"), daemon=True) for answer in (slow, quick)]
    threads[0].start()
    computing.wait()
    threads[1].start()
    threads[1].join(60)
    assert not threads[1].is_alive()
    may_end.set()
    threads[0].join()
