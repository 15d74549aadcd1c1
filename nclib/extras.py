"""Import the optional packages of nclib's extras."""

from collections.abc import Iterator
from contextlib import contextmanager

DISTRIBUTION = "nctransfer"  # the name to install; `nclib` on the package index is another project

# By import name, the extra of `pyproject.toml` that installs the package.
EXTRAS = {
    "peft": "peft",
    "transformers": "transformers",
    "torchmetrics": "torchmetrics",
    "pyarrow": "arrow",
    "datasets": "datasets",
    "statsmodels": "book",
    "myst_nb": "book",
    "papermill": "book",
    "pypdf": "book",
}


@contextmanager
def optional(package: str) -> Iterator[None]:
    """Import an optional package in this block; the ImportError, if it fails, names the command that installs it.

    Examples
    --------
    >>> with optional("peft"):
    ...     raise ModuleNotFoundError("No module named 'peft'", name="peft")
    Traceback (most recent call last):
        ...
    ModuleNotFoundError: peft is needed, and is not installed: pip install "nctransfer[peft]"
    """
    try:
        yield
    except ImportError as error:
        cure = f'pip install "{DISTRIBUTION}[{EXTRAS[package]}]"'
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise ModuleNotFoundError(f"{package} is needed, and is not installed: {cure}", name=package) from error
        raise ImportError(f"{package} is needed, and cannot be imported ({error}): {cure}", name=package) from error
