"""Models on the Hugging Face Hub (extra ``hub``), or in a folder as the Hub keeps them, each with a model card."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

from ._arguments import check_flag, import_optional, shorten
from ._files import check_path, replaced
from .evaluation import Evaluation

__all__ = ["OnHub"]

FILE, CARD = "model.safetensors", "README.md"
AnyModel = TypeVar("AnyModel", bound="OnHub")


class OnHub:
    """The Hub's methods of a :class:`lightfm_fast.Recommender`: a mixin."""

    def save_pretrained(
        self: Any,
        save_directory: str | os.PathLike[str],
        *,
        repo_id: str | None = None,
        evaluation: Evaluation | None = None,
        interactions: bool = True,
        optimizer_state: bool = True,
    ) -> None:
        """Write the recommender and a model card to a folder, as the Hub keeps them: model.safetensors and README.md.

        Parameters
        ----------
        save_directory : path
            A new folder or an existing one, whose README.md is kept.
        repo_id : str, optional
            Where people will find the model, such as ``"ann/films"``: the model card says how to load it from there.
        evaluation : Evaluation, optional
            What :meth:`lightfm_fast.Recommender.evaluate` returned, which the model card shows.
        interactions, optimizer_state
            As in :meth:`lightfm_fast.Recommender.save`. The model card says whether the file holds seen items.

        Raises
        ------
        TypeError
            If ``evaluation`` is no Evaluation, or ``repo_id`` no text.
        ValueError
            As :meth:`lightfm_fast.Recommender.save`.
        OSError
            If the files cannot be written.
        """
        card = _card(self, repo_id, evaluation, check_flag(interactions, "interactions"))
        folder = Path(check_path(save_directory, "save_directory"))
        folder.mkdir(parents=True, exist_ok=True)
        self.save(folder / FILE, interactions=interactions, optimizer_state=optimizer_state)
        if not (folder / CARD).exists():
            with replaced(folder / CARD) as temporary:  # a part of a card would be kept
                Path(temporary).write_text(card, encoding="utf-8")

    @classmethod
    def from_pretrained(
        cls: type[AnyModel],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        mmap: bool = False,
        trusted: bool = False,
    ) -> AnyModel:
        """Read a recommender from the Hub, or from a folder of :meth:`save_pretrained`.

        Reading runs no code out of the file: it holds arrays and JSON.

        Parameters
        ----------
        pretrained_model_name_or_path : str or path
            A folder, or the name of a repository on the Hub, such as ``"ann/films"``.
        revision, token, cache_dir, local_files_only
            As in ``huggingface_hub.hf_hub_download``: the branch, tag or commit, how to log in, where downloads are
            kept, and whether only these are looked at.
        mmap, trusted
            As in :meth:`lightfm_fast.Recommender.load`.

        Returns
        -------
        Recommender

        Raises
        ------
        ImportError
            If huggingface_hub is not installed and there is no such folder.
        ValueError
            As :meth:`lightfm_fast.Recommender.load`.
        OSError
            If there is no such model, or the Hub does not answer.
        """
        name = check_path(pretrained_model_name_or_path, "pretrained_model_name_or_path")
        path = os.path.join(name, FILE)
        if not os.path.isdir(name):
            hub = _hub()
            try:
                path = hub.hf_hub_download(
                    name, FILE, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
                )
            except ValueError as error:  # such as of the path of a folder, which no repository is named
                raise FileNotFoundError(f"there is no folder {name}, and no such repository: {error}") from error
        loaded: AnyModel = cls.load(path, mmap=mmap, trusted=trusted)  # type: ignore[attr-defined]
        return loaded

    def push_to_hub(
        self: Any,
        repo_id: str,
        *,
        private: bool = True,
        token: str | bool | None = None,
        commit_message: str = "Upload a recommender",
        create_pr: bool = False,
        evaluation: Evaluation | None = None,
        interactions: bool = True,
        optimizer_state: bool = True,
    ) -> str:
        """Upload the recommender to the Hub, with a model card if the repository has none.

        **The file names users, and says what they have seen, and when,** unless ``interactions=False``. So a new
        repository is private unless you say otherwise.

        Parameters
        ----------
        repo_id : str
            The repository, such as ``"ann/films"``; it is made if it does not exist.
        private : bool
            Of a new repository: whether only its owners see it.
        token : str or bool, optional
            How to log in; by default as ``hf auth login`` has left it.
        commit_message : str
        create_pr : bool
            Propose the commit as a pull request.
        evaluation, interactions, optimizer_state
            As in :meth:`save_pretrained`.

        Returns
        -------
        str
            The address of the commit.

        Raises
        ------
        ImportError
            If huggingface_hub is not installed.
        TypeError, ValueError
            As :meth:`save_pretrained`; also if a flag is neither True nor False.
        OSError
            If the Hub refuses or does not answer.
        """
        check_flag(private, "private")
        check_flag(create_pr, "create_pr")
        api = _hub().HfApi(token=token)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(
                folder,
                repo_id=repo_id,
                evaluation=evaluation,
                interactions=interactions,
                optimizer_state=optimizer_state,
            )
            api.create_repo(repo_id, private=private, exist_ok=True)
            if api.file_exists(repo_id, CARD):  # somebody may have edited it
                Path(folder, CARD).unlink()
            commit = api.upload_folder(
                repo_id=repo_id, folder_path=folder, commit_message=commit_message, create_pr=create_pr
            )
        return str(commit.pr_url if create_pr else commit.commit_url)


def _hub() -> Any:
    return import_optional("huggingface_hub", "hub", "lightfm_fast.hub")


CARD_TEXT = """---
library_name: lightfm_fast
tags:
- recommendation
- collaborative-filtering
---

# {title}

A recommender, trained with lightfm_fast on {n_interactions} interactions of {n_users} users with {n_items} items.

## Use

`pip install 'lightfm_fast[hub]'`, then:

```python
from lightfm_fast import Recommender

recommender = Recommender.from_pretrained({name!r})
recommender.recommend(history=[{example}], n=5)  # somebody new, who has seen one item
```

## Model

`{model}`, trained for {n_epochs} epochs. Columns of features: {features}.

## Quality

{quality}

## What the file holds

The ids of {n_users} users and {n_items} items, and {seen}. It holds arrays and JSON: reading it runs no code.
"""


def _card(recommender: Any, repo_id: str | None, evaluation: Evaluation | None, interactions: bool) -> str:
    """Return the model card: Markdown, with the metadata that the Hub reads first."""
    if not isinstance(evaluation, Evaluation | None):
        raise TypeError(f"evaluation is {shorten(evaluation)}, expected what evaluate() returned")
    if not isinstance(repo_id, str | None):
        raise TypeError(f"repo_id is {shorten(repo_id)}, expected text such as 'ann/films'")
    dataset = recommender.dataset
    users, _, items, _ = dataset.mapping()
    known = dataset.interactions
    columns: dict[str, tuple[Any, ...]] = {
        side: tuple(getattr(encoder, "columns", ())) for side, encoder in dataset.encoders.items()
    }
    features = [f"`{column}` of {side}s" for side, names in columns.items() for column in names]
    seen = "what these users have seen" + " and when" * (dataset.timestamps is not None)
    return CARD_TEXT.format(
        title=repo_id or "A recommender",
        n_interactions="unknown" if known is None else f"{known.nnz:,}",
        n_users=f"{len(users):,}",
        n_items=f"{len(items):,}",
        name=repo_id or "this folder",
        example=repr(next(iter(items))),
        model=recommender.model,
        n_epochs=len(recommender.model.history_),
        features=", ".join(features) or "none",
        quality=_quality(evaluation),
        seen=seen if interactions and known is not None else "not what users have seen",
    )


def _quality(evaluation: Evaluation | None) -> str:
    if evaluation is None:
        return "Not measured: give `evaluation=recommender.evaluate(test)` to write it here."
    errors = evaluation.standard_error
    rows = [f"\n| {name} | {value:.4f} | {errors[name]:.4f} |" for name, value in evaluation.mean.items()]
    head = f"Means over {len(evaluation.users):,} users, on held-out interactions:\n\n"
    return f"{head}| metric | mean | standard error |\n|---|---|---|{''.join(rows)}"
