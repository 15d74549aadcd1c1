"""The Hugging Face hub: whether it can be reached, which is said at once and not after a minute of tries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PATIENCE = 5  # seconds


@contextmanager
def hub(repository: str, cure: str = "") -> Iterator[None]:
    """Within it files of the hub come from its cache alone if the hub cannot be reached, or is not to be asked.

    What the cache lacks is a FileNotFoundError then, which says how to fetch it; `cure` is what else would help.
    """
    from huggingface_hub import constants

    before, why = constants.HF_HUB_OFFLINE, _out_of_reach()
    constants.HF_HUB_OFFLINE = before or why is not None
    try:
        yield
    except OSError as error:
        if why is None or not _of_hub(error):
            raise
        command = f"hf download {repository.replace('@', ' --revision ')}"
        raise FileNotFoundError(
            f"{repository} is not among the hub's files on this machine, and {why}; fetch it where there is a network, "
            f"by `{command}`{cure}"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def missing(repository: str) -> Exception | None:
    """Why a model of the hub, NAME or NAME@REVISION, cannot be had, found out by a small file of it; None if it can."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    name, _, revision = repository.partition("@")
    where: dict[str, Any] = {"repo_id": name, "filename": "config.json", "revision": revision or None}
    try:
        if not isinstance(try_to_load_from_cache(**where), str):
            with hub(repository):
                hf_hub_download(**where)
    except (OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return FileNotFoundError(said if repository in said else f"{repository} cannot be had of the hub: {said}")
    return None


def _out_of_reach() -> str | None:
    """Why the hub does not answer; None if it does, whatever it says."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception as error:  # of requests, or of httpx, by the version of huggingface_hub
        return f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})"
    return None


def _of_hub(error: BaseException | None) -> bool:
    """Whether an error comes of one of the hub's, that a file is not in its cache."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    while error is not None and not isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        error = error.__cause__ or error.__context__
    return error is not None
