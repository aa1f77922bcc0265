"""Figures of training and evaluation: tables of scores in, a matplotlib Figure out."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import CHANCE_LINE, LINES, MARKERS, OURS, PALETTE, PAPER_MARK, SHADE


def curve(table: pd.DataFrame, x: str, lines: Mapping[str, str], xlabel: str, ylabel: str) -> Figure:
    """Training curves: column `x` against the columns of `lines` (column -> label)."""
    fig, ((ax,),) = style.axes(6.4, 3.6)
    for (column, label), dashes in zip(lines.items(), LINES, strict=False):
        ax.plot(table[x], table[column], dashes, label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return fig


def duration_curve(table: pd.DataFrame, ylabel: str, paper: Mapping[float, float] | None = None) -> Figure:
    """A score against `seconds` of voice, with interval, and chance and ceiling where the table has them."""
    fig, ((ax,),) = style.axes(6.4, 3.8)
    ax.fill_between(table["seconds"], table["low"], table["high"], color=OURS, **SHADE)
    ax.plot(table["seconds"], table["value"], "o-", color=OURS, label="ours, 95 % interval")
    style.references(ax, table["seconds"], table)
    if paper:
        ax.plot(list(paper), list(paper.values()), **PAPER_MARK)
    ax.set(xlabel="length of voice / s", ylabel=ylabel, title=f"n = {style.speakers(table)} speakers")
    ax.set_xlim(left=0)
    ax.legend()
    return fig


def confusion_matrices(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Fig. 4: a matrix for each attribute, from `evaluate.confusion`: shares of the row, its clips in `n`."""
    sizes = [len(table) for table in tables.values()]
    # A cell is 0.62 in wide; the labels of the rows need 1.1 in, the bar beside the last matrix 0.6 in.
    widths = [0.62 * size + 1.1 for size in sizes]
    fig, (row,) = style.axes(sum(widths) + 0.6, 0.5 * max(sizes) + 1.5, ncols=len(sizes), width_ratios=widths)
    for ax, (name, table) in zip(row, tables.items(), strict=True):
        shares = table.drop(columns="n")
        sns.heatmap(
            shares,
            ax=ax,
            vmin=0,
            vmax=1,
            cmap="cividis",
            annot=True,
            fmt=".2f",
            annot_kws={"fontsize": "small"},
            linewidths=1,
            cbar=ax is row[-1],
            cbar_kws={"label": "share of the row"},
        )
        ax.set_yticklabels([f"{label}  (n = {n:,})" for label, n in table["n"].items()], rotation=0)
        ax.set_xticklabels(shares.columns, rotation=0)
        ax.set(title=name, xlabel="read from the face drawn", ylabel="true (n clips)")
    return fig


def craniofacial_bars(table: pd.DataFrame) -> Figure:
    """Fig. 5(c): correlation `r` of each `measure` with that of the true face, and of `random` pairs.

    Also needs low, high, n_speakers, ceiling, and the number of the `paper` (NaN where it gives none).
    """
    table = table.sort_values("r")
    fig, ((ax,),) = style.axes(7.2, 0.36 * len(table) + 1.3)
    y = np.arange(len(table))
    ax.barh(
        y,
        table["r"],
        xerr=style.whiskers(table["r"], table["low"], table["high"]),
        color=PALETTE[2],
        height=0.62,
        error_kw={"elinewidth": 1.2, "ecolor": OURS},
        label="ours, 95 % interval",
    )
    ax.plot(table["ceiling"], y, "|", color="black", markersize=15, markeredgewidth=2, label="ceiling")
    ax.plot(table["paper"], y, **PAPER_MARK)
    ax.axvline(table["random"].mean(), **CHANCE_LINE | {"label": "random pairs"})
    ax.set_yticks(y, table["measure"].str.replace("_idx", " index").str.replace("_", " "))
    ax.set(xlabel="correlation of face from voice and true face (Pearson's r)", ylabel="measure")
    ax.set(title=f"n = {style.speakers(table)} speakers", xlim=(min(-0.05, table["low"].min() - 0.05), 1))
    fig.legend(loc="outside lower center", ncols=4)
    return fig


def recall_curves(curves: Mapping[str, pd.DataFrame], xlabel: str) -> Figure:
    """R@K against `k` for each named table, from `retrieval.recall`; chance and ceiling of the first."""
    first = next(iter(curves.values()))
    fig, ((ax,),) = style.axes(6.4, 4.0)
    for (name, table), colour, marker in zip(curves.items(), PALETTE, MARKERS, strict=False):
        ax.fill_between(table["k"], table["low"], table["high"], color=colour, **SHADE)
        ax.plot(table["k"], table["value"], marker=marker, color=colour, label=name)
    style.references(ax, first["k"], first)
    ax.set_xscale("log")
    ax.set_xticks(first["k"], [f"{k:g}" for k in first["k"]])
    ax.minorticks_off()
    title = f"n = {style.speakers(first)} speakers; bands: 95 % intervals"
    ax.set(xlabel=xlabel, ylabel="queries whose true face is among them", title=title, ylim=(0, 1))
    ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    ax.legend()
    return fig


def negative_controls(table: pd.DataFrame, margin: float = 0.05) -> Figure:
    """What a probe reads off predicted features, from `evaluate.negative_controls`: a panel a `metric`."""
    panels = {name: rows.reset_index(drop=True) for name, rows in table.groupby("metric", sort=False)}
    sizes = [len(rows) for rows in panels.values()]
    fig, column = style.axes(7.2, 0.4 * sum(sizes) + 1.1 * len(sizes) + 0.5, nrows=len(sizes), height_ratios=sizes)
    for (ax,), (metric, rows) in zip(column, panels.items(), strict=True):
        chance = rows["chance"].iloc[0]
        ax.axvspan(chance - margin, chance + margin, color="0.88", label=f"chance ± {margin:g}")
        ax.axvline(chance, **CHANCE_LINE)
        ax.errorbar(
            rows["value"],
            range(len(rows)),
            xerr=style.whiskers(rows["value"], rows["low"], rows["high"]),
            fmt="o",
            color=OURS,
            label="probe, 95 % interval",
        )
        style.named_rows(ax, rows["control"], rows["n_speakers"])
        ax.set_xlim(min(chance - 0.2, rows["low"].min() - 0.02), max(chance + 0.2, rows["high"].max() + 0.02))
        ax.set_xlabel({"auc": "AUC", "r": "Pearson's r"}[metric])
    fig.supylabel("control (n speakers)", fontsize="medium")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig
