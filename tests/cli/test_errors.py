"""Errors are one line, and help is complete."""

import re
import sys
from pathlib import Path

import pytest

from lightfm_fast import LightFM, Recommender, __version__
from lightfm_fast.cli.hyperparameters import HYPERPARAMETERS
from lightfm_fast.cli.messages import in_words_of_options
from lightfm_fast.table_files import write_table

FEATURES_OF_ITEMS = "fit train.csv -o x --items items.csv --item-features"
ERRORS = {
    "no command": ("", "the following arguments are required: COMMAND"),
    "an unknown command": ("train", "invalid choice: 'train'"),
    "no arguments": ("fit", "the following arguments are required: FILE, -o/--output"),
    "an unknown option": (
        "inspect model.safetensors --all",
        "lightfm-fast inspect: error: unrecognized arguments: --all (see lightfm-fast inspect --help)",
    ),
    "no number": ("fit train.csv -o x --epochs many", "invalid whole number value: 'many'"),
    "a number too small": ("recommend model.safetensors -n 0", "0 is not a whole number of at least 1"),
    "a list too long": ("recommend model.safetensors -n 1000000000", "argument -n: 1000000000 is more than 1,000,000"),
    "ranks too many": ("evaluate model.safetensors test.csv --k 1000000000", "argument --k: 1000000000 is more than"),
    "a list of an endless length": (f"similar model.safetensors x -n {'9' * 5000}", "argument -n: "),
    "a model too large": ("fit train.csv -o x --components 1000000000000", "error: "),
    "a threshold of nothing": (
        "fit train.csv -o x --value-column rating --positive-from nan",
        "error: --positive-from is nan",
    ),
    "a bad seed": ("fit train.csv -o x --seed -1", "error: --seed is -1"),
    "a user twice": ("fit train.csv -o x --users train.csv", "train.csv: data row 2 repeats user '000'"),
    "duplicates": ("fit twice.csv -o x --duplicates error", "choose with --duplicates how"),
    "a column of two": ("fit same.csv -o x", "same.csv has 2 columns 'user_id': name them apart"),
    "an unclosed quote": ("fit open.csv -o x", "open.csv cannot be read: line 2 opens a quote that is never closed"),
    "an odd number": (
        "fit odd.csv -o x --value-column rating",
        "column 'rating' of odd.csv has 'many' in data row 3, expected a number",
    ),
    "an unknown encoding": ("fit train.csv -o x --encoding klingon", "unknown encoding: klingon"),
    "a long delimiter": ("fit train.csv -o x --delimiter ::", "the delimiter '::' is not one character"),
    "no such table": ("fit nothing.csv -o x", "there is no file nothing.csv"),
    "no such model": ("inspect nothing", "error: nothing: No such file or directory"),
    "no such folder": ("fit train.csv -o nowhere/x", "there is no folder"),
    "no model": ("inspect train.csv", "the file): expected a file that this library has written"),
    "no table": ("fit model.safetensors -o x", "expected the name of a file to end in one of .csv"),
    "a damaged table": ("fit damaged.parquet -o x", "damaged.parquet cannot be read"),
    "no name of the output": ("fit train.csv -o=", "error: the name of the output is empty"),
    "a folder for a file": ("fit train.csv -o .", "error: . is a folder: give the name of a file"),
    "no such column": ("fit train.csv -o x --user-column user", "train.csv has no column 'user'; it has 'user_id'"),
    "ids of another name": ("fit train.csv -o x --user-column user", "--user-column and --item-column name the ids"),
    "missing ids": ("fit holes.csv -o x --user-column person", "column 'person' of interactions has 1 missing id,"),
    "no rows": ("fit empty.csv -o x", "empty.csv has no rows: there is nothing to train on"),
    "text for numbers": ("fit train.csv -o x --value-column item_id", "column 'item_id'"),
    "a bad parameter": ("fit train.csv -o x --learning-rate -1", "error: --learning-rate is -1.0"),
    "a bad penalty": ("fit train.csv -o x --item-alpha automatic", "invalid number or auto value: 'automatic'"),
    "a bad k of k-OS": ("fit train.csv -o x --kos-k 99999", "error: --kos-k is 99999"),
    "a bad n of k-OS": ("fit train.csv -o x --kos-n 99999", "error: --kos-n is 99999"),
    "a bad budget": ("fit train.csv -o x --tune soon", "error: --tune is 'soon'"),
    "too little memory": ("fit train.parquet -o x --shards s --shard-memory 5", "error: --shard-memory is 5"),
    "features that tune needs": ("fit train.csv -o x --tune 1trials --task new-items", "give --item-features"),
    "weights of k-OS": (
        "fit train.csv -o x --loss warp-kos --weight-column weight",
        "error: --weight-column has no meaning for --loss warp-kos",
    ),
    "features of nothing": ("fit train.csv -o x --item-features tags", "--items FILE, which is not given"),
    "an unknown kind": (
        f"{FEATURES_OF_ITEMS} tags:tag",
        "expected COLUMN or COLUMN:KIND",
    ),
    "an argument too many": (f"{FEATURES_OF_ITEMS} tags:text=3", ":text takes nothing after it, but '=3' follows"),
    "an argument too few": (
        f"{FEATURES_OF_ITEMS} tags:bins=",
        "something must follow after =",
    ),
    "a semicolon that the shell took": (f"{FEATURES_OF_ITEMS} tags:tags=", "a shell needs it quoted: 'COLUMN:tags=;'"),
    "a budget without a unit": (
        "fit train.csv -o x --tune 10",
        "--tune is '10', expected a number with a unit, such as",
    ),
    "a bad argument": (f"{FEATURES_OF_ITEMS} tags:bins=x", "invalid literal"),
    "a column twice": (f"{FEATURES_OF_ITEMS} tags tags:text", "names a column twice"),
    "patience for nothing": ("fit train.csv -o x --patience 3", "give --hold-out or --validation"),
    "a metric for nothing": ("fit train.csv -o x --metric auc", "--metric needs --patience or --tune"),
    "no times": ("fit train.csv -o x --hold-out last", "--hold-out last needs --time-column"),
    "two held out": ("fit train.csv -o x --hold-out random --validation test.csv", "give one"),
    "nothing held out": ("fit train.csv -o x --hold-out random --fraction 0", "holds nothing out"),
    "all held out": (
        "fit train.csv -o x --hold-out random --fraction 1",
        "--hold-out random leaves nothing",
    ),
    "a bad fraction": ("fit train.csv -o x --hold-out random --fraction 2", "error: --fraction is 2.0"),
    "an unknown user": ("recommend model.safetensors --users x", "knows no user 'x'; it knows 40, such as '000'"),
    "an unknown item": ("recommend model.safetensors --exclude x", "knows no item 'x'"),
    "unknown ids in a file": (
        "recommend model.safetensors --users-from strangers.csv",
        "1 users that the model does not",
    ),
    "a bad output": ("recommend model.safetensors -o lists.xlsx", "lists.xlsx: expected the name of a file to write"),
    "known newcomers": ("recommend model.safetensors --newcomers users.csv", "has '000', whom the model knows"),
    "no newcomers": ("recommend model.safetensors --newcomers nobody.csv", "nobody.csv has no rows"),
    "newcomers and others": (
        "recommend model.safetensors --newcomers users.csv --users 001",
        "--newcomers goes without",
    ),
    "no values as in fit": (
        "evaluate model.safetensors strangers.csv",
        "has no column 'rating'; it has 'user_id', 'item_id'; --value-column names another, and --value-column ''",
    ),
    "newcomers without features": ("recommend model.safetensors --newcomers strangers.csv", "no column 'town'"),
    "nothing to find": ("evaluate model.safetensors strangers.csv --value-column=", "no user has a test positive"),
    "no dataset": (
        "recommend bare.safetensors",
        "without its Dataset, so its ids are not known. Of a model of fit --shards whose ids",
    ),
    "nothing like it": ("similar model.safetensors x", "knows no item 'x'"),
    "nothing to explain": ("explain model.safetensors x x", "knows no user 'x'"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line(run, model, case):
    write_table("holes.csv", {"person": ["a", None], "item_id": ["b", "c"]})
    write_table("empty.csv", {"user_id": [], "item_id": []})
    write_table("strangers.csv", {"user_id": ["000x"], "item_id": ["film, 1"]})
    write_table("nobody.csv", {"user_id": [], "town": [], "age": []})
    Path("damaged.parquet").write_bytes(b"PAR1 and no more")
    Path("same.csv").write_text("user_id,item_id,user_id\n1,2,3\n")
    Path("open.csv").write_text('user_id,item_id\n"1,2\n3,4\n')
    write_table("twice.csv", {"user_id": [1, 1], "item_id": [2, 2]})
    write_table("odd.csv", {"user_id": [1, 2, 3], "item_id": [1, 2, 3], "rating": [1, 2, "many"]})
    model.dataset_ = None
    model.save("bare.safetensors")
    command, message = ERRORS[case]
    told = run(*command.split(), code=2)
    assert told.out == ""
    assert message in told.err
    lines = [
        line for line in told.err.splitlines() if "interactions of" not in line
    ]  # without the note on the rows that were read
    assert len(lines) == 1
    assert lines[0].startswith("lightfm-fast")
    assert ": error: " in lines[0]
    assert not Path("x").exists()


# Values that argparse takes and the model refuses. It takes all others that argparse takes.
TOO_LARGE = ("no_components", "k", "n", "max_sampled", "n_negatives", "temperature", "linear_components")
BAD_VALUES = dict.fromkeys(TOO_LARGE, 99_999_999) | {
    **dict.fromkeys(("learning_rate", "user_alpha", "item_alpha", "user_shrinkage", "init_scale", "random_state"), -1),
    "identity_dropout": 1,
    "initial_accumulator": 0,
}


def test_parameters_are_named_by_their_options(run):
    checked_by_argparse = {"loss", "learning_schedule", "negatives", "feature_scaling", "cold_start", "average"}
    assert set(BAD_VALUES) == set(HYPERPARAMETERS) - checked_by_argparse
    for name, value in BAD_VALUES.items():
        option = HYPERPARAMETERS[name][0]
        told = run("fit", "train.csv", "-o", "x", option, value, code=2).err
        assert f"error: {option} is {value}" in told
        assert not re.search(rf"(?<!-)\b{name}\b", told)


def test_words_are_no_options():
    for text in ("k.csv: line 2 is short", "column 'n' has 1 missing id", "it has a loss of 3", "no epochs were run"):
        assert in_words_of_options(text) == text
    assert in_words_of_options("n is 5: pass unknown='skip'") == "-n is 5: pass --unknown skip"


def test_a_library_that_is_missing(run, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = run("fit", "train.csv", "-o", "x", code=2)
    assert told.err.splitlines() == [
        "lightfm-fast fit: error: A .csv file needs pyarrow, which is not installed: pip install 'lightfm_fast[cli]'"
    ]


def test_a_folder_that_is_read_only_is_refused_before_training(run, monkeypatch):
    monkeypatch.setattr(LightFM, "fit", lambda *_, **__: pytest.fail("training has started"))
    monkeypatch.setattr("os.access", lambda *_, **__: False)  # root may write everywhere
    assert "error: nothing may be written to the folder" in run("fit", "train.csv", "-o", "x", code=2).err


def test_interruption(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(LightFM, "fit", interrupt)
    assert "interrupted" in run("fit", "train.csv", "-o", "x", "--quiet", code=130).err


def test_a_bug_is_no_error_of_the_user(run, monkeypatch):
    monkeypatch.setattr(Recommender, "load", lambda *_, **__: {}["bug"])
    with pytest.raises(KeyError, match="bug"):
        run("recommend", "model.safetensors")


@pytest.mark.parametrize("command", ["", "fit", "evaluate", "recommend", "similar", "explain", "inspect"])
def test_help(run, command):
    told = run(*command.split(), "--help")
    assert told.out.startswith("usage: lightfm-fast")
    assert run("--version").out == f"lightfm-fast {__version__}\n"
