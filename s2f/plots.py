"""The figures: tables and arrays in, a matplotlib Figure out, in one style.

Tables use the column names of the results: `value`, `n_speakers`, `chance`, `ceiling`; `low` and `high` bound
the 95 % interval. Colour alone never carries a meaning: chance is dashed, the ceiling dotted, the paper a
diamond.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, UInt8
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.pyplot import install_repl_displayhook

from s2f.paths import replacing

# Told apart by colour-blind readers, and by lightness alone (26, 49, 66, 79 of 100) on a grey print.
PALETTE = ("#1f3b73", "#c4512d", "#5aa9c8", "#e8c04a")
OURS, PAPER = PALETTE[:2]
QUIET = "0.45"
MARKERS = "os^D"
LINES = ("-", "--", "-.", ":")
CHANCE_LINE = {"color": QUIET, "linestyle": "--", "linewidth": 1.2, "label": "chance"}
CEILING_LINE = {"color": "black", "linestyle": ":", "linewidth": 1.6, "label": "ceiling"}
PAPER_MARK = {"color": PAPER, "marker": "D", "linestyle": "none", "markersize": 7, "label": "paper"}
SHADE = {"alpha": 0.15, "linewidth": 0}
DPI = 120
# The audit's `mdd80` is 1.96 + 0.84 standard errors; luck alone stays within 1.96 of them in 95 of 100 cases.
LUCK = 1.96 / 2.80


def use_style() -> None:
    """Set the look of all figures; works with any backend."""
    sns.set_theme(style="ticks", palette=PALETTE, font="DejaVu Sans", font_scale=0.9)
    rcParams.update(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.titlelocation": "left",
            "figure.constrained_layout.h_pad": 0.08,  # inches
            "figure.constrained_layout.w_pad": 0.08,
            "legend.frameon": False,
            "image.cmap": "cividis",
            "svg.hashsalt": "s2f",  # ids of an SVG are random otherwise
        }
    )
    install_repl_displayhook()  # so that a notebook shows a Figure that pyplot did not make


def save(fig: Figure, path: str | Path) -> Figure:
    """Write a PNG or SVG whose bytes depend on the figure only (no date, no version), and return it to be shown."""
    path = Path(path)
    stamps = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    with replacing(path) as temporary:
        fig.savefig(temporary, dpi=DPI, metadata=stamps[path.suffix])
    return fig


def _axes(width: float, height: float, **grid) -> tuple[Figure, np.ndarray]:
    """A figure of so many inches with a 2-d array of axes; outside pyplot, so that nothing is kept alive."""
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(squeeze=False, **grid)


def _speakers(table: pd.DataFrame) -> str:
    fewest, most = table["n_speakers"].min(), table["n_speakers"].max()
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def _whiskers(value: pd.Series, low: pd.Series, high: pd.Series) -> np.ndarray:
    """Distances to both ends of the intervals; an estimate may lie a rounding error beyond its own."""
    return np.maximum([value - low, high - value], 0)


# ---- training


def curve(table: pd.DataFrame, x: str, lines: Mapping[str, str], xlabel: str, ylabel: str) -> Figure:
    """Training curves: column `x` against the columns of `lines` (column -> label)."""
    fig, ((ax,),) = _axes(6.4, 3.6)
    for (column, label), style in zip(lines.items(), LINES, strict=False):
        ax.plot(table[x], table[column], style, label=label)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return fig


# ---- evaluation


def duration_curve(table: pd.DataFrame, ylabel: str, paper: Mapping[float, float] | None = None) -> Figure:
    """A score against `seconds` of voice, with interval, and chance and ceiling where the table has them."""
    fig, ((ax,),) = _axes(6.4, 3.8)
    ax.fill_between(table["seconds"], table["low"], table["high"], color=OURS, **SHADE)
    ax.plot(table["seconds"], table["value"], "o-", color=OURS, label="ours, 95 % interval")
    _references(ax, table["seconds"], table)
    if paper:
        ax.plot(list(paper), list(paper.values()), **PAPER_MARK)
    ax.set(xlabel="length of voice / s", ylabel=ylabel, title=f"n = {_speakers(table)} speakers")
    ax.set_xlim(left=0)
    ax.legend()
    return fig


def _references(ax: Axes, x: pd.Series, table: pd.DataFrame) -> None:
    for column, style in (("chance", CHANCE_LINE), ("ceiling", CEILING_LINE)):
        if column in table:
            ax.plot(x, table[column], **style)


def confusion_matrices(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Fig. 4: a matrix for each attribute, from `evaluate.confusion`: shares of the row, its clips in `n`."""
    sizes = [len(table) for table in tables.values()]
    # A cell is 0.62 in wide; the labels of the rows need 1.1 in, the bar beside the last matrix 0.6 in.
    widths = [0.62 * size + 1.1 for size in sizes]
    fig, (row,) = _axes(sum(widths) + 0.6, 0.5 * max(sizes) + 1.5, ncols=len(sizes), width_ratios=widths)
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
    fig, ((ax,),) = _axes(7.2, 0.36 * len(table) + 1.3)
    y = np.arange(len(table))
    ax.barh(
        y,
        table["r"],
        xerr=_whiskers(table["r"], table["low"], table["high"]),
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
    ax.set(title=f"n = {_speakers(table)} speakers", xlim=(min(-0.05, table["low"].min() - 0.05), 1))
    fig.legend(loc="outside lower center", ncols=4)
    return fig


def recall_curves(curves: Mapping[str, pd.DataFrame], xlabel: str) -> Figure:
    """R@K against `k` for each named table, from `retrieval.recall`; chance and ceiling of the first."""
    first = next(iter(curves.values()))
    fig, ((ax,),) = _axes(6.4, 4.0)
    for (name, table), colour, marker in zip(curves.items(), PALETTE, MARKERS, strict=False):
        ax.fill_between(table["k"], table["low"], table["high"], color=colour, **SHADE)
        ax.plot(table["k"], table["value"], marker=marker, color=colour, label=name)
    _references(ax, first["k"], first)
    ax.set_xscale("log")
    ax.set_xticks(first["k"], [f"{k:g}" for k in first["k"]])
    ax.minorticks_off()
    title = f"n = {_speakers(first)} speakers; bands: 95 % intervals"
    ax.set(xlabel=xlabel, ylabel="queries whose true face is among them", title=title, ylim=(0, 1))
    ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    ax.legend()
    return fig


# ---- audit


def group_forest(table: pd.DataFrame, xlabel: str) -> Figure:
    """One metric by group, from `audit.disaggregate`; groups too small to have numbers are left out.

    The band of a group is where it falls in 95 of 100 cases if it is no different from the rest.
    """
    overall = table.loc[table["group"] == "overall", "estimate"].item()
    table = table[table["difference"].notna()].reset_index(drop=True)
    fig, ((ax,),) = _axes(7.2, 0.38 * len(table) + 1.6)
    y = np.arange(len(table))
    rest, luck = table["estimate"] - table["difference"], LUCK * table["mdd80"]
    ax.barh(y, 2 * luck, left=rest - luck, height=0.8, color="0.88", label="range by luck, if no different")
    whiskers = _whiskers(table["estimate"], table["ci_lo"], table["ci_hi"])
    ax.errorbar(table["estimate"], y, xerr=whiskers, fmt="o", color=OURS, label="group, 95 % interval")
    ax.axvline(overall, color=QUIET, linestyle="--", linewidth=1.2, label="all speakers")
    for edge in np.flatnonzero(table["attribute"].ne(table["attribute"].shift()))[1:]:
        ax.axhline(edge - 0.5, color="0.75", linewidth=0.8)  # between two attributes
    _named_rows(ax, table["group"], table["n_speakers"])
    ax.set(xlabel=xlabel, ylabel="group (n speakers)")
    fig.legend(loc="outside lower center", ncols=3)
    return fig


def _named_rows(ax: Axes, names: pd.Series, counts: pd.Series) -> None:
    """Label the rows from the top down."""
    ax.set_yticks(
        range(len(names)), [f"{name}  (n = {n:,.0f})" for name, n in zip(names, counts, strict=True)]
    )
    ax.set_ylim(len(names) - 0.4, -0.6)


def negative_controls(table: pd.DataFrame, margin: float = 0.05) -> Figure:
    """What a probe reads off predicted features, from `evaluate.negative_controls`: a panel a `metric`."""
    panels = {name: rows.reset_index(drop=True) for name, rows in table.groupby("metric", sort=False)}
    sizes = [len(rows) for rows in panels.values()]
    fig, column = _axes(7.2, 0.4 * sum(sizes) + 1.1 * len(sizes) + 0.5, nrows=len(sizes), height_ratios=sizes)
    for (ax,), (metric, rows) in zip(column, panels.items(), strict=True):
        chance = rows["chance"].iloc[0]
        ax.axvspan(chance - margin, chance + margin, color="0.88", label=f"chance ± {margin:g}")
        ax.axvline(chance, **CHANCE_LINE)
        ax.errorbar(
            rows["value"],
            range(len(rows)),
            xerr=_whiskers(rows["value"], rows["low"], rows["high"]),
            fmt="o",
            color=OURS,
            label="probe, 95 % interval",
        )
        _named_rows(ax, rows["control"], rows["n_speakers"])
        ax.set_xlim(min(chance - 0.2, rows["low"].min() - 0.02), max(chance + 0.2, rows["high"].max() + 0.02))
        ax.set_xlabel({"auc": "AUC", "r": "Pearson's r"}[metric])
    fig.supylabel("control (n speakers)", fontsize="medium")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return fig


# ---- what goes in and comes out


def gallery(
    rows: Mapping[str, UInt8[np.ndarray, "people height width 3"]], captions: Sequence[str]
) -> Figure:
    """Faces: one row each kind (true, from face, from voice), one column a person."""
    fig, axes = _axes(1.25 * len(captions) + 1.0, 1.3 * len(rows) + 0.5, nrows=len(rows), ncols=len(captions))
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            sns.despine(ax=ax, left=True, bottom=True)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, caption in zip(axes[0], captions, strict=True):
        ax.set_title(caption, fontsize="small", loc="center")
    return fig


def spectrogram(
    spectrum: Float[np.ndarray, "2 frames bins"], frame_seconds: float = 0.01, top_hz: float = 8000
) -> Figure:
    """What the voice encoder gets: length of the compressed (real, imaginary), over time and frequency."""
    fig, ((ax,),) = _axes(7.2, 3.2)
    seconds = spectrum.shape[1] * frame_seconds
    shown = ax.imshow(
        np.hypot(*spectrum).T,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, top_hz / 1000),
        cmap="magma",
    )
    fig.colorbar(shown, label="compressed magnitude")
    ax.set(xlabel="time / s", ylabel="frequency / kHz")
    return fig


def scatter_projection(points: Float[np.ndarray, "n 2"], labels: Sequence[str], method: str) -> Figure:
    """Coordinates of a projection (`method`: PCA, t-SNE, UMAP) by label; they have no unit."""
    names = pd.Categorical(labels)
    fig, ((ax,),) = _axes(6.0, 4.6)
    for code, name in enumerate(names.categories):
        mine = points[names.codes == code]
        style = {
            "color": PALETTE[code % len(PALETTE)],
            "marker": MARKERS[code // len(PALETTE) % len(MARKERS)],
        }
        ax.scatter(*mine.T, s=12, alpha=0.7, linewidth=0, label=f"{name}  (n = {len(mine):,})", **style)
    ax.set(xlabel=f"{method} 1", ylabel=f"{method} 2", xticks=[], yticks=[])
    fig.legend(loc="outside right upper", markerscale=2)
    return fig


def people_overview(people: pd.DataFrame) -> Figure:
    """The data card: age, pitch and vocal-tract length by sex, and who speaks which language."""
    fig, axes = _axes(9.6, 6.4, nrows=2, ncols=2)
    quantities = {"age": "age / years", "f0_hz": "mean pitch F0 / Hz", "vtl_cm": "vocal-tract length / cm"}
    for ax, (column, label) in zip(axes.flat, quantities.items(), strict=False):
        bins = np.histogram_bin_edges(people[column], 24)
        for (sex, values), colour, style in zip(people.groupby("sex")[column], PALETTE, LINES, strict=False):
            sns.histplot(
                x=values,
                ax=ax,
                bins=bins,
                element="step",
                color=colour,
                alpha=0.25,
                linestyle=style,
                label=f"{sex}  (n = {len(values):,} speakers)",
            )
        ax.set(xlabel=label, ylabel="speakers")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    spoken = pd.crosstab(people["group"], people["language"])
    ax = axes[1, 1]
    sns.heatmap(
        spoken,
        ax=ax,
        cmap="cividis",
        annot=True,
        fmt="d",
        annot_kws={"fontsize": "small"},
        linewidths=1,
        cbar_kws={"label": "speakers"},
    )
    ax.set(xlabel="language", ylabel="group")
    ax.tick_params(rotation=0, labelsize="small")
    return fig
