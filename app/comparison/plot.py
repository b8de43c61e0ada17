"""A comparison as a picture, by the optional package matplotlib."""

from __future__ import annotations

from pathlib import Path

from app.comparison.comparison import Comparison, Row
from app.errors import ConfigInvalid


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be written, before anything is computed for it.

    Raises:
        ConfigInvalid: matplotlib is not installed, or the path is none of a `.png` file.
    """
    try:
        import matplotlib.figure  # noqa: F401 - whether it is there
    except ImportError:
        raise ConfigInvalid(
            "expected matplotlib, which draws plots; install it with: pip install 'slimvec[plots]'",
            pointer="/plot",
        ) from None
    if path.suffix.lower() != ".png" or not path.parent.is_dir():
        raise ConfigInvalid(
            f"expected a plot's name to end in .png, in a folder that is there, got {path}",
            pointer="/plot",
        )


def write_plot(comparison: Comparison, path: Path) -> None:
    """Draw recall@10, and MRR where pairs are known, against the number of components.

    Args:
        comparison: what is drawn.
        path: a `.png` file to write.

    Raises:
        ConfigInvalid: as `check_plot`, or the disk refused it.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    figures = {"recall@10 of the full dimension": _nn10}
    if comparison.has_pairs:
        figures["MRR of the row's own partner"] = _mrr
    figure = Figure(figsize=(5.5 * len(figures), 4), layout="constrained")
    for place, (title, of) in enumerate(figures.items(), start=1):
        axes = figure.add_subplot(1, len(figures), place)
        for method, rows in _by_method(comparison).items():
            sizes = [row.n_components for row in rows]
            axes.plot(sizes, [of(row) for row in rows], marker="o", label=method)
        axes.axhline(of(comparison.rows[-1]), color="grey", linestyle=":", label="full")
        axes.set(xlabel="components", title=title)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    try:
        figure.savefig(path, format="png", dpi=100)
    except OSError as error:
        raise ConfigInvalid(
            f"expected to write {path}: {error.strerror}; choose another file", pointer="/plot"
        ) from None


def _by_method(comparison: Comparison) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in comparison.rows:
        if row.method != "full":
            found.setdefault(row.method, []).append(row)
    return found


def _nn10(row: Row) -> float:
    return row.nn10


def _mrr(row: Row) -> float:
    return row.mrr or 0.0
