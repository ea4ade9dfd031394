"""Checks of numbers, ids and choices: returned values, and the errors of refused ones."""

from __future__ import annotations

import importlib
import pickle
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from lightfm_fast import FMRegressor, LightFM, _arguments, _matrices
from lightfm_fast._cells import numbers_of_cells
from lightfm_fast.callbacks import Callback, OptunaPruning
from lightfm_fast.data import Dataset, UnknownIdsError
from lightfm_fast.data.columns import read_numbers
from lightfm_fast.datasets import fetch_movielens
from lightfm_fast.evaluation import evaluate
from lightfm_fast.features import FeatureSpec, Text, UnseenCategoryWarning
from lightfm_fast.table_files import MissingColumnError


def test_an_optional_library_is_imported_or_its_extra_named(monkeypatch):
    assert _arguments.import_optional("json", "anything", "reading") is sys.modules["json"]
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"A progress bar needs tqdm.*lightfm_fast\[progress\]"):
        _arguments.import_optional("tqdm", "progress", "A progress bar")


def test_a_bar_that_a_library_never_shows_needs_no_widgets(monkeypatch, tmp_path):
    (tmp_path / "with_a_bar.py").write_text("import warnings; warnings.warn('IProgress not found. Please update')")
    monkeypatch.syspath_prepend(tmp_path)
    _arguments.import_optional("with_a_bar", "tune", "tune")  # a warning would be an error


def test_a_library_that_another_thread_imports_is_whole(monkeypatch, tmp_path):
    events = SimpleNamespace(has_begun=threading.Event(), may_end=threading.Event())
    monkeypatch.setitem(sys.modules, "events_of_import", events)
    (tmp_path / "slow_to_import.py").write_text(
        "import events_of_import as events\nevents.has_begun.set()\nevents.may_end.wait()\nanswer = 42\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import_module, answers = importlib.import_module, []

    def may_wait(name):
        events.may_end.set()
        return import_module(name)

    def use():
        try:
            answers.append(hasattr(_arguments.import_optional("slow_to_import", "some", "use"), "answer"))
        finally:
            events.may_end.set()

    first = threading.Thread(target=import_module, args=["slow_to_import"])
    first.start()
    events.has_begun.wait()
    monkeypatch.setattr(importlib, "import_module", may_wait)
    second = threading.Thread(target=use)
    second.start()
    for thread in (first, second):
        thread.join()
    assert answers == [True]


@pytest.mark.parametrize("given", [0, np.array(0), np.float32(1), 0.5, 1])
def test_fractions(given):
    assert _arguments.check_fraction(given, "share") == float(given)


@pytest.mark.parametrize(
    ("bad", "exception"), [("x", TypeError), (None, TypeError), (1.1, ValueError), (np.nan, ValueError)]
)
def test_bad_fractions(bad, exception):
    with pytest.raises(exception, match="share"):
        _arguments.check_fraction(bad, "share")


def test_proper_fractions_counts_and_choices():
    for bad in (0, 1.0, -0.1):
        with pytest.raises(ValueError, match="share"):
            _arguments.check_proper_fraction(bad, "share")
    assert type(_arguments.check_proper_fraction(np.float16(0.5), "share")) is float
    for bad in (0, 1.5, True, 11):
        with pytest.raises(ValueError, match="n_tags"):
            _arguments.check_count(bad, "n_tags", largest=10)
    _arguments.check_count(np.int64(10), "n_tags", largest=10)
    with pytest.raises(ValueError, match="'third'"):
        _arguments.check_choice("third", "part", ("first", "second"))
    with pytest.raises(ValueError, match="by_name and by_tag"):
        _arguments.check_feature_choice(by_name=False, by_tag=False)


def test_seeds_and_generators():
    generator = np.random.RandomState(1)
    assert _arguments.check_random_state(generator) is generator
    assert _arguments.check_random_state(1).rand() == np.random.RandomState(1).rand()
    assert _arguments.check_random_state([1, 2]).rand() == np.random.RandomState([1, 2]).rand()
    for bad, exception in (("x", TypeError), (-1, ValueError)):
        with pytest.raises(exception):
            _arguments.check_random_state(bad)


def test_a_generator_seeds_and_is_drawn_from():
    generator, same = np.random.default_rng(1), np.random.default_rng(1)
    first, second = (_arguments.check_random_state(generator).rand() for _ in range(2))
    assert first == _arguments.check_random_state(same).rand() != second


def test_exceptions_reach_other_processes_whole():
    """A process that cannot unpickle an exception of another waits for ever, or loses it."""
    modules = [module for name, module in sys.modules.items() if name.startswith("lightfm_fast")]
    classes = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    ours = {each for each in classes if issubclass(each, Exception) and each.__module__.startswith("lightfm_fast")}
    assert {UnknownIdsError, MissingColumnError, UnseenCategoryWarning} <= ours
    for kind in ours:
        n_arguments = 2 if kind in (UnknownIdsError, MissingColumnError) else 1
        error = kind(*"ab"[:n_arguments])
        other = pickle.loads(pickle.dumps(error))
        assert (type(other), str(other), vars(other)) == (kind, str(error), vars(error))


class Unreadable:
    """A tensor of another device, say: its exceptions are of its own."""

    def __array__(self, *_, **__):
        raise RuntimeError("it is on another device")

    def __repr__(self):
        raise RuntimeError("it is on another device")


def test_objects_that_raise_when_they_are_read_or_shown():
    for check in (_arguments.check_row_numbers, _matrices.check_values):
        with pytest.raises(ValueError, match="ids is Unreadable that NumPy cannot read.*on another device"):
            check(Unreadable(), "ids")
    for read in (_arguments.check_count, _arguments.check_flag):
        with pytest.raises(ValueError, match="n is <.*Unreadable object at"):
            read(Unreadable(), "n")
    with pytest.raises(TypeError, match="n is <.*Unreadable object at"):
        _arguments.check_fraction(Unreadable(), "n")
    with pytest.raises(TypeError, match=r"x has <.*Unreadable.*\(Unreadable\) in row 0"):
        numbers_of_cells([Unreadable()], "x")


class Late:
    """Its conversion takes so long that an alarm of the caller rings."""

    def __array__(self, *_, **__):
        raise TimeoutError("too late")


@pytest.mark.parametrize(
    "read",
    [
        lambda values: _matrices.check_values(values, "ids"),
        lambda values: _matrices.check_entries(values, "interactions"),
        lambda values: read_numbers([values], "ages"),
    ],
)
def test_an_alarm_passes_through(read):
    with pytest.raises(TimeoutError, match="too late"):
        read(Late())


def test_runs():
    _arguments.check_run(0, 1)
    _arguments.check_run(np.int64(3), np.int32(2))
    for epochs, num_threads, exception in (
        (-1, 1, ValueError),
        (1, 0, ValueError),
        (1.0, 1, TypeError),
        (1, "2", TypeError),
    ):
        with pytest.raises(exception, match="epochs|num_threads"):
            _arguments.check_run(epochs, num_threads)


# ---------------------------------------------------------------------------------------------- optional libraries


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A pyarrow that is installed but raises at import, like a build for another NumPy."""

    def install(raised):
        (tmp_path / "pyarrow.py").write_text(f"raise {raised}\n")
        for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(_arguments, "_BROKEN", set())

    return install


@pytest.mark.parametrize(
    "raised",
    [
        "ImportError('numpy.core.multiarray failed to import')",
        "AttributeError('_ARRAY_API not found')",
        "ValueError('numpy.dtype size changed')",
        "ModuleNotFoundError('No module named numpy.libs', name='numpy.libs')",
    ],
)
def test_a_library_that_does_not_import_counts_as_absent_and_is_warned_of_once(broken, raised):
    broken(raised)
    with pytest.warns(
        RuntimeWarning, match="pyarrow is installed but does not import .*: lightfm_fast does without it"
    ):
        dataset = Dataset.from_tables({"user_id": ["a", "b"], "item_id": ["x", "x"]})
    assert dataset.interactions.toarray().tolist() == [[1], [1]]
    Dataset.from_tables({"user_id": ["a"], "item_id": ["x"]})
    with pytest.raises(
        ImportError, match=r"needs pyarrow, which is installed but does not import .*lightfm_fast\[cli\]"
    ):
        _arguments.import_optional("pyarrow", "cli", "A file")


def test_a_library_that_is_absent_is_no_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert not _arguments.importable("pyarrow")
    with pytest.raises(ImportError, match="needs pyarrow, which is not installed"):
        _arguments.import_optional("pyarrow", "cli", "A file")


def known_pair():
    dataset = Dataset()
    dataset.fit(["ann"], ["dune"], item_features=["novel"])
    return dataset


def fitted():
    return LightFM().fit(np.eye(3))


def assigned(**attributes):
    model = fitted()
    vars(model).update(attributes)
    return model


class Assigning(Callback):
    def __init__(self, **attributes):
        self.attributes = attributes

    def begin(self, model, n_epochs):
        vars(model).update(self.attributes)


@pytest.mark.parametrize(
    ("call", "exception", "message"),
    [
        (lambda: Dataset().fit([["ann"]], ["dune"]), TypeError, "expected a list of ids or names"),
        (lambda: Dataset().fit(5, ["dune"]), TypeError, "expected a list of ids or names"),
        (lambda: known_pair().build_interactions(7), TypeError, "got 7, expected rows"),
        (lambda: known_pair().build_interactions(np.array(7)), TypeError, "expected rows"),
        (lambda: known_pair().build_interactions([("ann", {})]), TypeError, "item id must be hashable"),
        (lambda: known_pair().build_item_features([("dune", [[]])]), TypeError, "item feature must be hashable"),
        (lambda: Dataset.from_tables({"user_id": [1], "item_id": [1]}, user=np.ones(2)), TypeError, "name of a column"),
        (lambda: Dataset.from_tables({}, unknown=np.ones(0)), ValueError, "unknown is array"),
        (lambda: fitted().recommend([0], dataset=0.5), TypeError, "dataset is 0.5, expected a Dataset"),
        (lambda: fitted().predict([0, [1, 2]], [0, 1]), ValueError, "user_ids holds lists within a list"),
        (lambda: evaluate(fitted(), np.eye(3), metrics=3), ValueError, "metric is 3"),
        (lambda: OptunaPruning(None, evaluate), TypeError, "trial is None, expected the trial that Optuna passes"),
        (lambda: FeatureSpec({}, 1.0, id_column=["id"]), TypeError, r"id_column is \['id'\], expected the name"),
        (lambda: fetch_movielens(3), TypeError, "data_home is 3, expected a path"),
        (lambda: FMRegressor(warm_start=[1, 2]).fit(np.eye(3), [1, 2, 3]), ValueError, r"warm_start is \[1, 2\]"),
        (lambda: evaluate(fitted(), np.eye(3), k=np.ones((2, 2))), TypeError, "k is array.*, expected one value or a"),
        (lambda: evaluate(fitted(), np.eye(3), k=[[1], [2]]), ValueError, r"k is \[1\]"),
        (lambda: known_pair().build_interactions([("ann", "dune", 10**400)]), ValueError, "beyond double precision"),
        (lambda: assigned(learning_schedule=np.array([])).recommend([0]), ValueError, "learning_schedule is array"),
        (lambda: assigned(no_components=[10]).predict(0, [0]), ValueError, r"no_components is \[10\]"),
        (lambda: LightFM().fit(np.eye(3), callbacks=[Assigning(init_scale="x")]), ValueError, "init_scale is 'x'"),
        (lambda: LightFM().fit(np.eye(3), callbacks=np.array(3)), TypeError, "callbacks is array"),
        (lambda: LightFM(random_state=-1), ValueError, "random_state is -1, expected None, an integer from 0"),
        (lambda: Text().fit(["", "a"]), ValueError, "nothing can be learned from 2 texts"),
    ],
)
def test_refusals_are_the_librarys_own(call, exception, message):
    with pytest.raises(exception, match=message):
        call()


def test_parameters_of_odd_types_are_shown():
    model = LightFM()
    model.temperature = np.array([0.15, 0.2])  # which fit refuses
    assert repr(model) == "LightFM(temperature=array([0.15, 0.2 ]))"
    assert repr(LightFM(no_components=np.int64(3))) == f"LightFM(no_components={np.int64(3)!r})"


def test_a_column_named_by_a_number_of_numpy_beside_one_named_by_a_tuple():
    table = {"user_id": [1], "item_id": [1], ("a", "b"): [2], 3: [4.0]}
    assert Dataset.from_tables(table, weight=np.int8(3)).weights.toarray().tolist() == [[4.0]]
    with pytest.raises(ValueError, match="no column 5"):
        Dataset.from_tables(table, weight=np.int8(5))
