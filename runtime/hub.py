"""Judges on the Hugging Face Hub: found there, fetched and published.

huggingface_hub, which the tokenisers bring along, does the work and reads its own variables: HF_TOKEN, HF_ENDPOINT,
HF_HUB_OFFLINE.
"""

import re
from pathlib import Path
from typing import Any, Final

from lager_onnx.models.errors import HubError
from lager_onnx.models.export_cure import export_cure
from lager_onnx.models.spec import (
    CARD_FILE,
    CONFIG_FILE,
    GRAPH_FILE,
    SPEC_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
)
from lager_onnx.runtime.files import cache_folder
from lager_onnx.runtime.folder import read_spec

JUDGE_FILES: Final = (
    SPEC_FILE, GRAPH_FILE, WEIGHTS_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE, CONFIG_FILE, CARD_FILE,
)  # fmt: skip
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TAGS: Final = ("llm-as-a-judge", "lager", "onnx", "onnxruntime")


def find_judge(name: str | Path, revision: str | None = None) -> Path:
    """The folder of a judge: where `name` says, or fetched from the hub where it is an id there and no folder here.

    Raises:
        HubError: it cannot be fetched.
    """
    folder = Path(name)
    if not _HUB_ID.fullmatch(str(name)) or folder.exists():
        if revision:
            raise HubError(f"{name} is a folder here: a revision is for ids on the hub")
        return folder
    return fetch(str(name), cache_folder() / "hub" / str(name).replace("/", "--") / (revision or "main"), revision)


def fetch(repository: str, folder: Path, revision: str | None = None) -> Path:
    """Fetches a judge into a folder; files that are there and the same are not fetched again.

    They are files of its own and no links into the hub's cache: onnxruntime follows none from a graph to its weights.

    Raises:
        HubError: there is no such repository, it may not be read, the network fails, or it holds no judge.
    """
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import (  # noqa: PLC0415
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        found = snapshot_download(repository, revision=revision, local_dir=folder, allow_patterns=list(JUDGE_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise HubError(
            f"there is no folder {repository}, and from the hub it cannot be fetched ({error}): check the name, the "
            "network, and HF_TOKEN for what is not public"
        ) from error
    if not (Path(found) / SPEC_FILE).exists():
        raise HubError(
            f"{repository} has no {SPEC_FILE}, it is no judge", export_cure(repository, repository.rpartition("/")[2])
        )
    return Path(found)


def publish(
    folder: Path,
    repository: str,
    *,
    license_: str | None = None,
    evaluation: list[dict[str, Any]] | None = None,
    dataset: str = "labelled records",
    private: bool = False,
    revision: str | None = None,
) -> str:
    """Publishes a judge with a card that the hub understands.

    Args:
        folder: the judge.
        repository: an id such as `org/name`; it is made where there is none.
        license_: of the checkpoint, as the hub names it, such as `apache-2.0`.
        evaluation: what `lager evaluate --json` wrote of this judge, for the card.
        dataset: what that was measured on.
        private: for a repository that is made.
        revision: branch to write to.

    Returns:
        The address of the commit.

    Raises:
        JudgeFolderError: no judge.
        HubError: it cannot be published.
    """
    from huggingface_hub import CommitOperationAdd, HfApi  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    spec = read_spec(folder)
    card = _card(folder, spec.source.checkpoint, license_, evaluation or [], dataset)
    files = [name for name in JUDGE_FILES if name != CARD_FILE and (folder / name).exists()]
    changes = [CommitOperationAdd(name, folder / name) for name in files]
    changes.append(CommitOperationAdd(CARD_FILE, card.encode()))
    api = HfApi(library_name="lager-onnx")
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(
            repository, changes, commit_message=f"LAGER judge of {spec.source.checkpoint}", revision=revision
        )
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise HubError(
            f"cannot publish {repository} on the hub ({error}): check the name, the network, and whether HF_TOKEN may "
            "write"
        ) from error
    return str(commit.commit_url)


def _card(folder: Path, checkpoint: str, license_: str | None, evaluation: list[dict[str, Any]], dataset: str) -> str:
    """The judge's own card, with what the hub wants to know at its head."""
    from huggingface_hub import EvalResult, ModelCard, ModelCardData  # noqa: PLC0415

    card = ModelCard((folder / CARD_FILE).read_text(encoding="utf-8"))
    known = {name: value for name, value in vars(card.data).items() if value is not None and name != "base_model"}
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type="labelled",
            dataset_name=f"{dataset}: {row['part']}",
            metric_type=figure,
            metric_value=row[figure]["value"],
            metric_name=f"{figure.capitalize()} with the labels, {row['records']} records",
        )
        for row in evaluation
        if str(row["method"]).startswith("LAGER")
        for figure in ("spearman", "pearson")
        if row[figure]["value"] is not None
    ]
    card.data = ModelCardData(
        **known,
        # An id on the hub, or nothing: a local file's name would lead nowhere.
        base_model=checkpoint if _HUB_ID.fullmatch(checkpoint) else None,
        license=license_,
        pipeline_tag="text-classification",
        tags=list(_TAGS),
        model_name=folder.resolve().name if results else None,
        eval_results=results or None,
    )
    return str(card)
