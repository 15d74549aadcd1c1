"""Write the chapters with nothing but their live cells and what these need, for nbval on other processors."""

import nbformat

from nclib.run import LIVE_FOLDER
from workflow.measures import ROOT, measuring_cells

FOLDER = ROOT / LIVE_FOLDER / "notebooks"


def live_only(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A chapter with the cells that measure and those that are tagged live, with their outputs."""
    live = [cell for cell in notebook.cells if "live" in cell.metadata.get("tags", [])]
    if not live:
        raise ValueError("a chapter has no cell with the tag live")
    return nbformat.v4.new_notebook(metadata=notebook.metadata, cells=[*measuring_cells(notebook), *live])


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))[1:]:  # the first is the front page
        nbformat.write(live_only(nbformat.read(path, as_version=4)), FOLDER / path.name)
