"""Serve a model over HTTP."""

from __future__ import annotations

import argparse
from typing import Any

from ..data import Dataset
from ..serve import Service, run
from .input import ids_of, read_seen, with_columns


def serve_model(options: argparse.Namespace) -> None:
    """Answer requests until a signal."""

    def read(dataset: Dataset) -> Any:
        return read_seen(with_columns(options, dataset), options.seen, *ids_of(dataset))

    run(
        Service(
            model=options.model,
            index=options.index,
            read_seen=read if options.seen else None,
            filter_seen=not options.recommend_seen,
            host=options.host,
            port=options.port,
            workers=options.workers,
            watch=options.watch,
        )
    )
