"""What the book and README.md say of speed, from the rows that are kept."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from benchmarks.rows import PATH, PLACE, ratios
from nclib.experiments.plots import use_style

FIGURE = PATH.parent / "_static" / "growth.png"
_WHERE = PLACE[:3]
_THREADS = {1: "one thread", 2: "two threads"}


def read() -> pd.DataFrame:
    """The rows, each with the number of its place, "(1)", "(2)", ..."""
    rows = pd.read_csv(PATH, keep_default_na=False)
    number = rows.groupby(_WHERE, sort=True).ngroup() + 1
    return rows.assign(place="(" + number.astype(str) + ")")


def places(rows: pd.DataFrame) -> pd.Series:
    """Where rows were measured, in words, and the speed of a float64 product there, by place."""
    found = rows.groupby("place").agg(dict.fromkeys(_WHERE, "first") | {"gflops": "median"})
    like = (", as " + found["emulated"]).where(found["emulated"] != "", "")
    speed = found["gflops"].map("{:.3g} GFLOP/s".format)
    return found["processor"] + like + ", " + found["threads"].map(_THREADS) + ": " + speed


def ratio_table(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a pair, a column a place."""
    found = ratios(rows)
    words = pd.DataFrame(
        {
            "sizes": found["group"],
            "times compared": (found["what"] + " / " + found["against"]).str.replace("_", " "),
            "wanted": found["most"].map("at most {:.2g}".format).where(found["most"].notna(), ""),
            "place": found["place"],
            "ratio": found["ratio"].map("{:.2g}".format)
            + (found["ratio"] > found["most"]).map({True: " (missed)", False: ""}),
        }
    )
    table = words.pivot(index=["sizes", "times compared", "wanted"], columns="place", values="ratio")
    return table.fillna("").reset_index()


def growth_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Seconds by place, and the most MiB beyond what is given, of what was measured for its size."""
    grown = rows[rows["group"].str.contains(r"^N=100,000|^ImageNet|^streamed")]
    table = (
        grown.pivot(index=["group", "what"], columns="place", values="seconds").map("{:g}".format).replace("nan", "")
    )
    peak = pd.to_numeric(grown["peak_mib"]).groupby([grown["group"], grown["what"]]).max()
    table = table.assign(MiB=peak.map("{:g}".format).replace("nan", "")).reset_index()
    return table.sort_values(["group", "what"], key=lambda column: column.map(_by_size))


_PARTS = {  # of fine-tuning, as benchmarks/test_throughput.py times them
    "load": "read and decode a file",
    "transform": "resize and crop",
    "take_kept": "take images kept as bytes",
    "finish": "bytes to what the network takes",
    "step": "forward and backward pass",
}


def throughput_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Images a second of each part of fine-tuning on photographs, a column a place."""
    found = rows[rows["what"].isin(_PARTS) & rows["group"].str.contains(" JPEG files ")]
    number = found["group"].str.extract(r"^(\d+)", expand=False).astype(float)
    speeds = (number / found["seconds"]).map(lambda speed: f"{float(f'{speed:.2g}'):,.0f}")
    each = found.assign(speed=speeds, part=found["what"].map(_PARTS))
    table = each.pivot(index=["group", "part"], columns="place", values="speed").fillna("").reset_index()
    return table.sort_values("part", key=lambda column: column.map([*_PARTS.values()].index))


def _by_size(text: str) -> str:
    """A text that sorts by the size of the numbers in it."""
    return re.sub(r"\d[\d,]*", lambda number: number[0].replace(",", "").zfill(9), text)


def sentence(rows: pd.DataFrame) -> str:
    """How many times faster than the plain formulas three metrics are, over all places."""
    found = ratios(rows).query("what == 'three' and against == 'plain_float64' and most > 0")  # of small tables none
    times = (1 / found["ratio"]).groupby(found["group"]).agg(["min", "max"])
    ranges = [f"{low:.2g} to {high:.2g} times faster at {group}" for group, low, high in times.itertuples()]
    compared = rows.loc[rows["what"] == "three", "gflops"]
    speed = f"{compared.min():.3g} to {compared.max():.3g} GFLOP/s"
    return (
        f"Computing NC1, the trace ratio and CDNV is {' and '.join(ranges)}\n"
        "than the plain formulas (N samples, d features, K classes),\n"
        f"on processors whose float64 matrix products run at {speed}\n"
        "(*Speed* in the book says more).\n"
    )


def draw(rows: pd.DataFrame, path: Path = FIGURE) -> None:
    """Seconds by the number of classes, a line for each number of features, at the place that measured most."""
    grown = rows[rows["what"].str.startswith("K=")]
    if grown.empty:
        return
    place = grown["place"].value_counts().idxmax()
    grown = grown[grown["place"] == place].assign(K=lambda t: t["what"].str[2:].str.replace(",", "").astype(int))
    use_style()
    figure, axis = plt.subplots(figsize=(5, 3.2))
    for group, line in grown.sort_values("K").groupby("group"):
        axis.loglog(line["K"], line["seconds"], marker="o", label=group.partition(" ")[2])
    axis.set(xlabel="classes K", ylabel="time (s)")
    axis.set_title(places(rows)[place], fontsize="small")
    axis.legend()
    figure.savefig(path, dpi=150)
    plt.close(figure)
