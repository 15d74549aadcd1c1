"""The Hugging Face hub: find out at once, not after a minute of retries, whether it can be reached."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PATIENCE = 5  # seconds


@contextmanager
def hub(repository: str, cure: str = "") -> Iterator[None]:
    """In this block, hub files come only from the local cache if the hub is out of reach or HF_HUB_OFFLINE is set.

    A file that is not cached is then a FileNotFoundError, which says how to fetch it; `cure` adds another remedy.
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
            f"{repository} is not among the hub's files on this machine, and {why}; fetch it where there is a network: "
            f"`{command}`{cure}"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def missing(repository: str) -> Exception | None:
    """Why a model of the hub, NAME or NAME@REVISION, cannot be fetched, by trying a small file; None if it can."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    name, _, revision = repository.partition("@")
    where: dict[str, Any] = {"repo_id": name, "filename": "config.json", "revision": revision or None}
    try:
        if not isinstance(try_to_load_from_cache(**where), str):
            with hub(repository):
                hf_hub_download(**where)
    except (OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return FileNotFoundError(said if repository in said else f"{repository} cannot be fetched from the hub: {said}")
    return None


def _out_of_reach() -> str | None:
    """Why the hub does not answer; None if it answers at all."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception as error:  # from requests or httpx, depending on huggingface_hub's version
        return f"{constants.ENDPOINT} cannot be reached ({type(error).__name__})"
    return None


def _of_hub(error: BaseException | None) -> bool:
    """Whether an error was caused by the hub's own, that a file is not in its cache."""
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    while error is not None and not isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        error = error.__cause__ or error.__context__
    return error is not None
