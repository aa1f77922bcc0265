"""Training and evaluation: learning curves, duration, confusion, correlations, recall, negative controls."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import CEILING_MARK, CHANCE_LINE, LINES, MARKERS, OURS, PALETTE, PAPER_MARK


def curve(table: pd.DataFrame, x: str, lines: Mapping[str, str], xlabel: str, ylabel: str) -> Figure:
    """Training curves: the columns of `lines` (column -> label) by column `x`."""
    fig, ((ax,),) = style.axes(6.4, 3.6)
    for (column, label), dashes in zip(lines.items(), LINES, strict=False):
        ax.plot(table[x], table[column], dashes, label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return fig


def duration_curve(table: pd.DataFrame, ylabel: str, paper: Mapping[float, float] | None = None) -> Figure:
    """A score by `seconds` of voice, with interval, and chance and ceiling where the table has them.

    `paper`: its score by seconds, if it reports one.
    """
    fig, ((ax,),) = style.axes(6.4, 3.8)
    style.bands(ax, {"ours, 95 % interval": table}, "seconds")
    style.references(ax, table["seconds"], table)
    if paper:
        ax.plot(list(paper), list(paper.values()), **PAPER_MARK)
    ax.set(xlabel="length of voice / s", ylabel=ylabel, title=f"n = {style.speakers(table)} speakers")
    ax.set_xlim(left=0)
    ax.legend()
    return fig


# Rows and columns of the confusion matrices of Fig. 4, by the name of the comparison in the results.
COMPARED = {
    "from_face": ("true face", "face from image"),
    "from_voice": ("true face", "face from voice"),
    "face_to_voice": ("face from image", "face from voice"),
}


def confusion_matrices(tables: Mapping[str, pd.DataFrame], attribute: str) -> Figure:
    """Fig. 4: confusion matrices of one attribute, one panel for each of `COMPARED` in `tables`.

    Tables of `attributes.confusion`: shares of the row, number of clips in `n`. A row without shares stays empty and
    says why: no clips, or a label that the classifier never saw.
    """
    rows = max(len(table) for table in tables.values())
    columns = next(iter(tables.values())).columns.drop("n")
    # Inches: a letter needs 0.09, a cell at least 0.42, a matrix 1.5, the rest of a panel 1.2, the bar of colours 0.8.
    letters = 0.09 * max(len(str(label)) for label in columns)
    panel = max(max(0.42, letters + 0.15) * len(columns), 1.5) + letters + 1.2
    fig, (line,) = style.axes(panel * len(tables) + 0.8, max(0.36 * rows, 1.2) + 1.2, ncols=len(tables))
    for ax, (name, table) in zip(line, tables.items(), strict=True):
        shares = table.drop(columns="n")
        style.heatmap(ax, 100 * shares, vmin=0, vmax=100, fmt=".0f", cbar=False)
        notes = ["" if label in shares else ", not learned" for label in table.index]
        counts = zip(table["n"].items(), notes, strict=True)
        ax.set_yticklabels([f"{label}  (n = {n:,}{note})" for (label, n), note in counts], rotation=0)
        ax.set_xticklabels(shares.columns, rotation=0)
        ax.set(ylabel=COMPARED[name][0], xlabel=COMPARED[name][1])
    fig.colorbar(line[0].collections[0], ax=line, label="% of the row")
    fig.suptitle(f"{attribute.replace('_', ' ')}  (n: clips)", fontsize="medium")
    return fig


def craniofacial_bars(table: pd.DataFrame, detected: pd.DataFrame | None = None) -> Figure:
    """Fig. 5(c): correlation `r` of each `measure` of the face from voice, beside that of `random` pairs.

    `table` compares the decoder's landmarks with the true ones, and may have a `ceiling`; `detected` compares, as the
    paper did, landmarks detected in the faces from voice and from image. Either may have the value of the `paper`.
    """
    table = table.sort_values("r").reset_index(drop=True)
    sources = {"decoder's landmarks against the true ones": table}
    if detected is not None:
        found = detected.set_index("measure").loc[table["measure"]].reset_index()
        sources["detected in faces from voice and from image"] = found
    fig, ((ax,),) = style.axes(7.6, 0.4 * len(table) + 1.8)
    looks = zip(sources.items(), (0.17, -0.17) if len(sources) > 1 else (0,), (OURS, PALETTE[2]), MARKERS, strict=False)
    for (label, part), shift, colour, marker in looks:
        y = np.arange(len(part)) + shift
        style.intervals(ax, part, y, "r", fmt=marker, color=colour, label=f"{label}, 95 % interval")
        if "ceiling" in part:
            ax.plot(part["ceiling"], y, markersize=11, **CEILING_MARK)
        if "paper" in part:
            ax.plot(part["paper"], y, **PAPER_MARK)
    ax.axvline(table["random"].mean(), **CHANCE_LINE | {"label": "random pairs"})
    for edge in np.arange(1, len(table)) - 0.5:
        ax.axhline(edge, color="0.9", linewidth=0.8)  # between two measures
    ax.set_yticks(range(len(table)), style.words(table["measure"]))
    lowest = min(part["low"].min() for part in sources.values())
    ax.set(xlabel="correlation (Pearson's r)", ylabel="measure", title=f"n = {style.speakers(table)} speakers")
    ax.set(xlim=(min(-0.05, lowest - 0.05), 1), ylim=(-0.6, len(table) - 0.4))
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def recall_curves(curves: Mapping[str, pd.DataFrame], xlabel: str) -> Figure:
    """R@K by `k`, one line per table of `retrieval.recall`, with chance and ceiling of the first."""
    first = next(iter(curves.values()))
    fig, ((ax,),) = style.axes(6.4, 4.0)
    style.bands(ax, curves, "k")
    style.references(ax, first["k"], first)
    ax.set_xscale("log")
    ax.set_xticks(first["k"], [f"{k:g}" for k in first["k"]])
    ax.minorticks_off()
    title = f"n = {style.speakers(first)} speakers; bands: 95 % intervals"
    ax.set(xlabel=xlabel, ylabel="queries whose true face is among them", title=title, ylim=(0, 1))
    style.percent(ax.yaxis)
    ax.legend()
    return fig


def ceiling_shares(table: pd.DataFrame, score: str) -> Figure:
    """Shares of the ceiling of a score, with intervals, an arm a row: columns of `metrics.ceiling.beside_ceiling`."""
    columns = {"share_of_ceiling": "share", "share_low": "low", "share_high": "high", "n_speakers": "n_speakers"}
    shares = table[list(columns)].rename(columns=columns).astype({"n_speakers": int})
    fig, ((ax,),) = style.axes(7.2, 0.36 * len(shares) + 1.6)
    look = {"color": OURS, "label": "95 % interval"}
    style.intervals(ax, shares, np.arange(len(shares)), "share", **look)
    ax.axvline(0, **CHANCE_LINE)
    ax.set_yticks(range(len(shares)), shares.index)
    ax.set_ylim(len(shares) - 0.5, -0.5)
    ax.set(xlabel=f"share of the ceiling, {score}", title=f"n = {style.speakers(shares)} speakers")
    style.percent(ax.xaxis)
    ax.legend()
    return fig


def training_shares(table: pd.DataFrame) -> Figure:
    """How much of the variance behind an interval is training, a row a result file: columns `file` and `share`."""
    files = list(table.groupby("file")["share"].median().sort_values(ascending=False).index)
    fig, ((ax,),) = style.axes(7.2, 0.3 * len(files) + 1.4)
    sns.boxplot(table, x="share", y="file", order=files, ax=ax, color="0.85", linecolor="0.2", fliersize=2)
    counts = table["file"].value_counts()
    ax.set_yticks(range(len(files)), [f"{file.replace('_', ' ')} ({counts[file]})" for file in files])
    ax.set(xlim=(0, 1), xlabel="share of training in the variance of a number", ylabel="result (n numbers)")
    style.percent(ax.xaxis)
    return fig


def negative_controls(table: pd.DataFrame, margin: float = 0.05) -> Figure:
    """Probes of predicted embeddings, from `probes.negative_controls`: one panel per `metric`."""
    panels = {name: rows.reset_index(drop=True) for name, rows in table.groupby("metric", sort=False)}
    sizes = [len(rows) for rows in panels.values()]
    fig, column = style.axes(7.2, 0.4 * sum(sizes) + 1.1 * len(sizes) + 0.5, nrows=len(sizes), height_ratios=sizes)
    for (ax,), (metric, rows) in zip(column, panels.items(), strict=True):
        chance = rows["chance"].iloc[0]
        ax.axvspan(chance - margin, chance + margin, color="0.88", label=f"chance ± {margin:g}")
        ax.axvline(chance, **CHANCE_LINE)
        style.intervals(ax, rows, range(len(rows)), label="probe, 95 % interval")
        style.named_rows(ax, rows["control"], rows["n_speakers"])
        ax.set_xlim(min(chance - 0.2, rows["low"].min() - 0.02), max(chance + 0.2, rows["high"].max() + 0.02))
        ax.set_xlabel({"auc": "AUC", "r": "Pearson's r"}[metric])
    fig.supylabel("control (n speakers)", fontsize="medium")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
