"""Spark's ALS beside this library: lists for all users from the same factors, and time to an equal NDCG.

Needs pyspark and Java, which are left out of ``make bench``. In the part "lists" both libraries write the best items of
all users to Parquet, from factors drawn at random. In the part "training" each library reads the same interactions from
Parquet and learns for several numbers of epochs. implicit's ALS, and LightFM on a tenth of the users, are there too.
Processor seconds of all threads are compared, since other work on the machine hardly changes them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import scipy.sparse as sp

from benchmarks import harness, scaling
from benchmarks.harness import Factors
from benchmarks.quality import judge
from benchmarks.quality_sets import SETS, Split

PARTS = ("lists", "training")
SPARK = "Spark ALS"
WARM_UP = 500  # users whose lists the Java machine compiles its code with, before it is timed
SHARE = 0.1  # of the users that LightFM trains
ALS_TRIALS: list[dict[str, float]] = [
    {"alpha": alpha, "regularization": regularization} for alpha in (10, 40) for regularization in (0.01, 0.1)
]
TRIAL_ITERATIONS = 3


def main(arguments: list[str] | None = None) -> None:
    options = _parse(arguments)
    if harness.import_peer("pyspark") is None:
        return
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        print("Spark is left out: it needs Java, such as Debian's openjdk-17-jre-headless")
        return
    peers = ["implicit", "lightfm"] if "training" in options.parts else []
    machine = harness.machine(["pyspark", "pyarrow", *peers])
    harness.print_machine(machine)
    results: list[dict[str, Any]] = []
    for threads in options.threads:
        with Spark.started(threads, options) as spark:
            if "lists" in options.parts:
                results.append({"part": "lists", **_lists(spark, threads, options)})
            if "training" in options.parts:
                results += ({"part": "training", **row} for row in _training(spark, threads, options))
    _report(results)
    harness.save(options.json, machine, options, results)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = harness.argument_parser(__doc__, seeds=False)
    parser.add_argument("--parts", type=harness.choices_of(PARTS), default=list(PARTS))
    parser.add_argument("--folder", type=Path, help="for all files: a fast disk, or one in memory")
    parser.add_argument("--memory", default="6g", help="of Spark's Java machine")
    parser.add_argument("--no-components", type=int, default=64)
    lists = parser.add_argument_group("lists")
    lists.add_argument("--users", type=int, default=20_000, help="also of generated data")
    lists.add_argument("--items", type=int, default=50_000, help="also of generated data")
    lists.add_argument("--n", type=int, default=100, help="items a user gets")
    lists.add_argument("--rounds", type=int, default=2, help="of all users, each side once")
    training = parser.add_argument_group("training")
    training.add_argument("--data", choices=("gowalla", "generated", "ml-100k"), default="gowalla")
    training.add_argument("--interactions", type=int, default=5_000_000, help="of generated data")
    training.add_argument("--epochs", type=harness.positive_integers, default=[5, 10, 20, 40], help="of SGD")
    training.add_argument("--iterations", type=harness.positive_integers, default=[1, 2, 5, 10], help="of ALS")
    return parser.parse_args(arguments)


class Spark:
    """A session of Spark on this machine.

    Parameters
    ----------
    session : pyspark.sql.SparkSession
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    @classmethod
    @contextmanager
    def started(cls, threads: int, options: Any) -> Iterator[Spark]:
        from pyspark.sql import SparkSession

        settings = {
            "spark.driver.memory": options.memory,
            # Spark's products of matrices use the processor's vectors with this module only.
            "spark.driver.extraJavaOptions": "--add-modules=jdk.incubator.vector",
            "spark.default.parallelism": 2 * threads,
            "spark.sql.shuffle.partitions": 2 * threads,  # 200 by default, for a cluster
            "spark.sql.execution.arrow.pyspark.enabled": True,
            "spark.ui.enabled": False,
            "spark.log.level": "ERROR",
            **({} if options.folder is None else {"spark.local.dir": options.folder}),
        }
        builder = SparkSession.builder.master(f"local[{threads}]").appName("benchmarks")
        for name, value in settings.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        try:
            yield cls(session)
        finally:
            session.stop()

    def processor_seconds(self) -> float:
        """Return the processor time of the Java machine so far, which Linux shows."""
        process = self._session.sparkContext._jvm.java.lang.ProcessHandle.current().pid()
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def load(self, path: Path) -> Callable[[Path, int, int | None], None]:
        """Load a model into memory; return what writes the ``n`` best items of all users, or of some, to a folder."""
        from pyspark.ml.recommendation import ALSModel

        model = ALSModel.load(str(path))
        for factors in (model.userFactors, model.itemFactors):
            factors.persist().count()

        def write(folder: Path, n: int, n_users: int | None = None) -> None:
            if n_users is None:
                lists = model.recommendForAllUsers(n)
            else:
                lists = model.recommendForUserSubset(self._session.range(n_users).withColumnRenamed("id", "user"), n)
            lists.write.mode("overwrite").parquet(str(folder))

        return write

    def train(self, path: Path, shape: tuple[int, int], iterations: int, settings: Mapping[str, Any]) -> Factors:
        """Train implicit ALS on a file of interactions."""
        from pyspark.ml.recommendation import ALS

        als = ALS(
            userCol="user",
            itemCol="item",
            ratingCol="value",
            implicitPrefs=True,
            maxIter=iterations,
            seed=0,
            rank=settings["rank"],
            alpha=settings["alpha"],
            regParam=settings["regularization"],
        )
        model = als.fit(self._session.read.parquet(str(path)))
        return Factors(
            *(
                _filled(table.toPandas(), n, settings["rank"])
                for table, n in zip((model.userFactors, model.itemFactors), shape, strict=True)
            )
        )


def _filled(frame: Any, n_rows: int, n_columns: int) -> np.ndarray:
    """Return a factor vector for every row: zeros for a row that was not trained."""
    factors = np.zeros((n_rows, n_columns), dtype=np.float32)
    factors[frame["id"].to_numpy()] = np.stack(frame["features"].to_numpy())
    return factors


# ------------------------------------------------------------------------------------------------------------- lists


def _lists(spark: Spark, threads: int, options: Any) -> dict[str, Any]:
    """Write the lists of all users by turns."""
    with TemporaryDirectory(dir=options.folder) as folder:
        ours, theirs = Path(folder) / "ours.parquet", Path(folder) / "spark"
        model = drawn_model(options.users, options.items, options.no_components)
        write_als(model, Path(folder) / "model")
        write = spark.load(Path(folder) / "model")
        model.recommend_to(ours, np.arange(min(WARM_UP, options.users)), options.n, num_threads=threads)
        write(theirs, options.n, min(WARM_UP, options.users))
        clocks = {"lightfm_fast": time.process_time, "Spark": spark.processor_seconds}
        runs = {
            "lightfm_fast": lambda: model.recommend_to(ours, n=options.n, num_threads=threads),
            "Spark": lambda: write(theirs, options.n, None),
        }
        spent: dict[str, list[float]] = {name: [] for name in runs}

        def run(name: str) -> None:
            before = clocks[name]()
            runs[name]()
            spent[name].append(clocks[name]() - before)

        seconds = harness.alternate({name: lambda name=name: run(name) for name in runs}, options.rounds)  # type: ignore[misc]
        same = same_lists(ours, theirs, options.n)
    sizes = {name: getattr(options, name) for name in ("users", "items", "n", "no_components")}
    return {
        **sizes,
        "threads": threads,
        "seconds": seconds,
        "processor seconds": spent,
        "time over ours": harness.paired_ratio(seconds["lightfm_fast"], seconds["Spark"]),
        "processor time over ours": harness.paired_ratio(spent["lightfm_fast"], spent["Spark"]),
        "same id in the same place": same,
    }


def drawn_model(users: int, items: int, no_components: int) -> Any:
    """Return a model of random embeddings without biases."""
    from lightfm_fast import LightFM

    rng = np.random.default_rng(0)
    model = LightFM(no_components).fit_partial(sp.coo_matrix((users, items), dtype=np.float32), epochs=0)
    for name in ("user_embeddings", "item_embeddings"):
        setattr(model, name, rng.standard_normal(getattr(model, name).shape, dtype=np.float32))
    return model


def write_als(model: Any, folder: Path) -> None:
    """Write a model without biases as Spark's ALSModel."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for side in ("user", "item"):
        factors = getattr(model, f"{side}_embeddings")
        ends = np.arange(0, factors.size + 1, factors.shape[1], dtype=np.int32)
        ids = np.arange(len(factors), dtype=np.int32)
        table = pa.table({"id": ids, "features": pa.ListArray.from_arrays(ends, pa.array(factors.ravel()))})
        (folder / f"{side}Factors").mkdir(parents=True)
        pq.write_table(table, folder / f"{side}Factors" / "part-00000.parquet")
    columns = {"userCol": "user", "itemCol": "item", "predictionCol": "prediction"}
    document = {
        "class": "org.apache.spark.ml.recommendation.ALSModel",
        "timestamp": 0,
        "sparkVersion": "3.5.0",  # of the format
        "uid": "given",
        "paramMap": columns,
        "defaultParamMap": {**columns, "blockSize": 4096, "coldStartStrategy": "nan"},
        "rank": model.no_components,
    }
    (folder / "metadata").mkdir()
    (folder / "metadata" / "part-00000").write_text(json.dumps(document))


def same_lists(ours: Path, theirs: Path, n: int) -> float:
    """Return how many places of all lists have the same item."""
    import pyarrow.parquet as pq

    own = pq.read_table(ours)
    lists = pq.read_table(theirs).sort_by("user").column("recommendations").combine_chunks()
    items = lists.flatten().field(0).to_numpy().reshape(-1, n)
    return float((own.column("item_id").to_numpy().reshape(-1, n) == items).mean())


# ---------------------------------------------------------------------------------------------------------- training

# Of the Parquet file, the shape, epochs and settings: the factors of all users and items, or of the users trained on.
Train = Callable[[Path, tuple[int, int], int, Mapping[str, Any]], Factors]


def _training(spark: Spark, threads: int, options: Any) -> Iterator[dict[str, Any]]:
    """Train each library for each number of epochs on the same file, and judge it on the same users."""
    split, tuning = _split(options)
    sides: dict[str, tuple[Train, list[int], bool]] = {
        "lightfm_fast, shards": (_ours, options.epochs, False),
        SPARK: (spark.train, options.iterations, True),
    }
    if harness.import_peer("implicit") is not None:
        sides["implicit ALS"] = (_implicit, options.iterations, True)
    if harness.import_peer("lightfm") is not None:
        sides["LightFM, a tenth of the users"] = (_lightfm, options.epochs, False)
    with TemporaryDirectory(dir=options.folder) as folder:
        path, trial_path = Path(folder) / "train.parquet", Path(folder) / "trials.parquet"
        _write(path, split.train)
        _write(trial_path, tuning.train)
        for name, (train, epochs, is_als) in sides.items():
            settings: dict[str, Any] = {"rank": options.no_components, "threads": threads, "folder": folder}
            tried = [
                (_quality(train(trial_path, split.train.shape, TRIAL_ITERATIONS, {**settings, **trial}), tuning), trial)
                for trial in (ALS_TRIALS if is_als else [])
            ]
            if tried:
                settings.update(max(tried, key=lambda found: found[0])[1])
            for count in epochs:
                clock = spark.processor_seconds if name == SPARK else time.process_time
                started, worked = time.perf_counter(), clock()
                factors = train(path, split.train.shape, count, settings)
                seconds, processor = time.perf_counter() - started, clock() - worked
                row = {
                    "name": name,
                    "threads": threads,
                    "epochs": count,
                    "seconds": seconds,
                    "processor seconds": processor,
                    "ndcg@20": _quality(factors, split),
                    "ndcg@20 of the tenth": _quality(factors, _of_tenth(split)),
                    "chosen": {key: settings[key] for key in ("alpha", "regularization") if is_als},
                    "data": options.data,
                    "shape": split.train.shape,
                    "interactions": split.train.nnz,
                }
                if name.startswith("LightFM"):  # the others' users have no representation
                    row["ndcg@20"] = None
                print(json.dumps(row), flush=True)
                yield row


def _split(options: Any) -> tuple[Split, Split]:
    """Return what is trained on and found, and the same to choose settings."""
    if options.data != "generated":
        test, validation = (SETS[options.data](0, tuning) for tuning in (False, True))
        return test, validation
    train, held_out = scaling.load(options)
    split = Split(train, held_out)
    entries = train.tocoo()
    kept = np.random.RandomState(1).rand(entries.nnz) >= 0.05
    parts = [
        sp.csr_matrix((entries.data[part], (entries.row[part], entries.col[part])), train.shape)
        for part in (kept, ~kept)
    ]
    return split, Split(parts[0], harness.sample_users(parts[1], 5_000))


def _write(path: Path, interactions: sp.csr_matrix) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    entries = interactions.tocoo()
    columns = {"user": entries.row.astype(np.int32), "item": entries.col.astype(np.int32), "value": entries.data}
    pq.write_table(pa.table(columns), path)


def _quality(factors: Factors, split: Split) -> float:
    return float(judge(lambda users: factors.user[users] @ factors.item.T, split)[0].mean())


def _tenth(n_users: int) -> np.ndarray:
    chosen = np.random.default_rng(0).permutation(n_users)[: round(SHARE * n_users)]
    return np.bincount(chosen, minlength=n_users).astype(np.float32)


def _of_tenth(split: Split) -> Split:
    """Return the split with the test of LightFM's users only."""
    held_out = sp.csr_matrix(sp.diags(_tenth(split.train.shape[0])) @ split.held_out)
    held_out.eliminate_zeros()
    return replace(split, held_out=held_out)


def _ours(path: Path, shape: tuple[int, int], epochs: int, settings: Mapping[str, Any]) -> Factors:
    """Write shards of the file, and train on them."""
    from lightfm_fast import LightFM
    from lightfm_fast.sharded import ShardedDataset

    with TemporaryDirectory(dir=settings["folder"]) as folder:
        items = {"item": np.arange(shape[1], dtype=np.int32)}
        shards = ShardedDataset.from_parquet(path, Path(folder) / "shards", user="user", item="item", items=items)
        model = LightFM.recommended(no_components=settings["rank"], random_state=0)
        model.fit(shards, epochs=epochs, num_threads=settings["threads"])
        found = Factors.of_lightfm(model)
        users = np.zeros((shape[0], found.user.shape[1]), dtype=np.float32)
        users[np.concatenate([shard.user_ids for shard in shards])] = found.user
    return Factors(users, found.item)


def _read(path: Path, shape: tuple[int, int]) -> sp.csr_matrix:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    rows, columns = (table.column(name).to_numpy() for name in ("user", "item"))
    return sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape)


def _implicit(path: Path, shape: tuple[int, int], epochs: int, settings: Mapping[str, Any]) -> Factors:
    import threadpoolctl
    from implicit.als import AlternatingLeastSquares

    with threadpoolctl.threadpool_limits(1, user_api="blas"):  # as implicit recommends
        model = AlternatingLeastSquares(
            settings["rank"],
            alpha=settings["alpha"],
            regularization=settings["regularization"],
            iterations=epochs,
            num_threads=settings["threads"],
            random_state=0,
        )
        model.fit(_read(path, shape), show_progress=False)
    return Factors(model.user_factors, model.item_factors)


def _lightfm(path: Path, shape: tuple[int, int], epochs: int, settings: Mapping[str, Any]) -> Factors:
    """Train WARP on a tenth of the users, as people do whose data are too many for LightFM."""
    from lightfm import LightFM

    train = sp.csr_matrix(sp.diags(_tenth(shape[0])) @ _read(path, shape))
    train.eliminate_zeros()
    model = LightFM(settings["rank"], loss="warp", random_state=0)
    model.fit(train.tocoo(), epochs=epochs, num_threads=settings["threads"])
    return Factors.of_lightfm(model)


# ------------------------------------------------------------------------------------------------------------ report


def until_equal(rows: list[dict[str, Any]], of: dict[str, Any]) -> float | None:
    """Return the processor time of ``of`` over ours that finds as much in the least; None if ours never does."""
    metric = "ndcg@20" if of["ndcg@20"] is not None else "ndcg@20 of the tenth"
    equal = [
        row["processor seconds"]
        for row in rows
        if row["name"].startswith("lightfm_fast") and row["threads"] == of["threads"] and row[metric] >= of[metric]
    ]
    return of["processor seconds"] / min(equal) if equal else None


def _report(results: list[dict[str, Any]]) -> None:
    lists = [row for row in results if row["part"] == "lists"]
    if lists:
        print("\nlists of all users to Parquet")
        harness.print_table(LISTS_HEADER, [cells_of_lists(row) for row in lists])
    rows = [row for row in results if row["part"] == "training"]
    if rows:
        print("\ntraining on the same file")
        harness.print_table(TRAINING_HEADER, [cells_of_training(rows, row) for row in rows])


LISTS_HEADER = (
    "threads",
    "ours, s",
    "Spark, s",
    "users a second a core, ours",
    "Spark",
    "Spark / ours",
    "Spark / ours, processor",
)


def cells_of_lists(row: dict[str, Any]) -> list[str]:
    """Return threads, the fastest seconds, users a second of a core's processor time, and both ratios."""
    sides = ("lightfm_fast", "Spark")
    return [
        str(row["threads"]),
        *(f"{min(row['seconds'][side]):.1f}" for side in sides),
        *(f"{row['users'] / min(row['processor seconds'][side]):,.0f}" for side in sides),
        harness.ratio_text(row["time over ours"]),
        harness.ratio_text(row["processor time over ours"]),
    ]


TRAINING_HEADER = (
    "trained by",
    "epochs",
    "seconds",
    "processor seconds",
    "NDCG@20",
    "of a tenth of the users",
    "time over ours to it",
)


def cells_of_training(rows: list[dict[str, Any]], row: dict[str, Any]) -> list[str]:
    """Return who trained, epochs, seconds, NDCG, and the processor time over ours until as much is found."""
    ratio = None if row["name"].startswith("lightfm_fast") else until_equal(rows, row)
    return [
        row["name"],
        str(row["epochs"]),
        f"{row['seconds']:.1f}",
        f"{row['processor seconds']:.1f}",
        "" if row["ndcg@20"] is None else f"{row['ndcg@20']:.4f}",
        f"{row['ndcg@20 of the tenth']:.4f}",
        "" if ratio is None else f"{ratio:.1f}",
    ]


if __name__ == "__main__":
    main()
