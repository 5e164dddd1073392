"""The page, the picture and the figures of `scripts/benchmark.py`."""

import json
import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from spotify_ml.utils.files import staged
from spotify_ml.utils.version import library_version

# Commands that are measured as they are, by the name of their processes.
COMMANDS = {"reference": ["experiment=reference"], "default": []}
# What is looked at by rows: stages of the project's command, and the bare process's own that they are set beside.
ROWS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "etl: read, check, clean, describe": (("etl",), ("read",)),
    "split": (("split",), ()),
    "features": (("features",), ()),
    "fit, twice": (("fit",), ("quantise for the first fit", "first fit", "quantise for the fit", "fit")),
    "evaluate": (("evaluate",), ("predict",)),
    "intervals": (("intervals",), ()),
    "explain": (("explain",), ()),
    "outputs": (("outputs",), ()),
    "record, register": (("record", "register"), ()),
    "start, imports, end": (("outside", "start"), ("outside",)),
    "the whole command": (("total",), ("total",)),
}
DATA_STAGES = ("etl", "split", "features")
REFERENCE = {"reference-etl": ("read", "clean", "write"), "reference-features": ("read", "features", "write")}
_LIBRARIES = ("xgboost", "pandas", "pyarrow", "scikit-learn", "mlflow")
_GB = 2**30


@dataclass(frozen=True)
class Measured:
    """One process.

    Attributes
    ----------
    seconds : dict of str to float
        By stage, as it says itself; ``total`` is from its start to its end.
    peak_mb : float
        Its largest resident memory.
    failed : str
        Why it did not come to its end; empty if it did.
    """

    seconds: dict[str, float]
    peak_mb: float
    failed: str = ""


@dataclass
class Results:
    """Every process that was measured, by what it did and the number of rows.

    Attributes
    ----------
    command : str
        What was typed.
    sizes : list of int
        The numbers of rows, the smallest first.
    n_trees : int
        Of the stages by rows.
    processes : dict
        In the order of the rounds.
    """

    command: str
    sizes: list[int]
    n_trees: int
    processes: dict[tuple[str, int], list[Measured]] = field(default_factory=dict)

    def add(self, name: str, n_rows: int, measured: Measured) -> None:
        """Keep one process."""
        self.processes.setdefault((name, n_rows), []).append(measured)

    def seconds(self, name: str, n_rows: int, *stages: str) -> list[float]:
        """Return the seconds of some stages together, of every process that came to its end."""
        return [sum(each.seconds[stage] for stage in stages) for each in self._ended(name, n_rows)]

    def peaks(self, name: str, n_rows: int) -> list[float]:
        """Return the largest memory of every process that came to its end, in MB."""
        return [each.peak_mb for each in self._ended(name, n_rows)]

    def failures(self) -> list[str]:
        """Return what failed, and why."""
        return [
            f"{name}, {n_rows:,} rows: {each.failed}"
            for (name, n_rows), group in self.processes.items()
            for each in group
            if each.failed
        ]

    def _ended(self, name: str, n_rows: int) -> list[Measured]:
        return [each for each in self.processes.get((name, n_rows), []) if not each.failed]


def write_report(folder: Path, results: Results) -> None:
    """Write ``benchmarks.md``, ``benchmarks.json`` and ``images/benchmarks.png`` below a folder."""
    with staged(folder / "benchmarks.md") as page:
        page.write_text(markdown(results), encoding="utf-8")
    with staged(folder / "benchmarks.json") as file:
        processes = [
            {"what": name, "rows": n_rows, **asdict(each)}
            for (name, n_rows), group in results.processes.items()
            for each in group
        ]
        file.write_text(json.dumps({"command": results.command, "processes": processes}, indent=1), encoding="utf-8")
    with staged(folder / "images" / "benchmarks.png") as picture:
        draw(results, picture)


def markdown(results: Results) -> str:
    """Return the page."""
    libraries = ", ".join(f"{name} {library_version(name)}" for name in _LIBRARIES)
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GB
    failures = results.failures()
    return "\n".join(
        [
            "# Time and memory, measured",
            "",
            f"`{results.command}`: Python {platform.python_version()}, {libraries}; {os.cpu_count()} cores, "
            f"{memory_gb:.0f} GB.",
            "",
            "Medians of processes that took turns, and their ranges. Beyond the dataset, tracks are repeated under",
            "other ids, artists and albums, with jittered audio: an artist or an album has as many tracks at any size.",
            *_commands(results),
            *_stages(results),
            *_data_stages(results),
            *_memory(results),
            *(["", "## What failed", "", *(f"- {line}" for line in failures)] if failures else []),
            "",
        ]
    )


def _commands(results: Results) -> list[str]:
    first = results.sizes[0]
    lines = [
        "",
        f"## Whole commands, {first:,} rows",
        "",
        "From the start of the process to its end, with model, figures and registration. A bare script imports the",
        "same libraries, quantises the matrices of the run, and grows its trees. A run fits twice: early stopping",
        "chooses the number of trees, and the model is fitted again with the validation rows.",
        "",
        "| command | seconds | imports | one fit | both fits | of imports + one fit | of imports + both | of one fit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, overrides in COMMANDS.items():
        beside = f"{name}-bare"
        total, imports = results.seconds(name, first, "total"), results.seconds(beside, first, "outside")
        one = results.seconds(beside, first, "quantise for the fit", "fit")
        both = results.seconds(beside, first, *ROWS["fit, twice"][1])
        bounds = ([sum(pair) for pair in zip(imports, fits, strict=True)] for fits in (one, both))
        cells = [_spread(values) for values in (total, imports, one, both)]
        cells += [_ratio(total, bound) for bound in (*bounds, one)]
        lines.append(_row(f"`{' '.join(['train', *overrides])}`", *cells))
    return lines


def _stages(results: Results) -> list[str]:
    header = " | ".join(f"{n_rows:,} rows | bare" for n_rows in results.sizes)
    lines = [
        "",
        "## Seconds by rows",
        "",
        f"The default model with {results.n_trees} trees. *Bare* is the least that it could cost: pyarrow reads the",
        "CSV, XGBoost quantises and fits twice, a booster predicts the test rows. Seconds grow as rows to the power",
        "*b*.",
        "",
        f"| stage | {header} | b |",
        "|---|" + "---|" * (2 * len(results.sizes) + 1),
    ]
    for label, (stages, beside) in ROWS.items():
        seconds = [results.seconds("stages", n_rows, *stages) for n_rows in results.sizes]
        cells = []
        for n_rows, values in zip(results.sizes, seconds, strict=True):
            cells += [_spread(values), _spread(results.seconds("bare", n_rows, *beside)) if beside else "–"]
        power = exponent(results.sizes, seconds)
        lines.append(_row(label, *cells, "–" if power is None else f"{power:.2f}"))
    return [*lines, "", "![Seconds by rows](images/benchmarks.png)"]


def _data_stages(results: Results) -> list[str]:
    lines = [
        "",
        "## Reading, cleaning, splitting and features",
        "",
        "The default, made and then found in the cache. Then the 37 columns of `experiment=reference`, and how much",
        "longer the reference way takes to make them, by pandas in two processes that hand files on: its steps alone,",
        "and its processes with their start and imports.",
        "",
        "| rows | default, made | from the cache | share | reference, made | its way, steps | its way, processes "
        "| steps, times as long | processes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for n_rows in results.sizes:
        made, kept, same = (
            results.seconds(name, n_rows, *DATA_STAGES) for name in ("stages", "cached", "reference-stages")
        )
        steps = _together([results.seconds(name, n_rows, *own) for name, own in REFERENCE.items()])
        processes = _together([results.seconds(name, n_rows, "total") for name in REFERENCE])
        share = f"{median(kept) / median(made):.1%}" if made and kept else "–"
        spreads = [_spread(values) for values in (made, kept, same, steps, processes)]
        ratios = [_ratio(values, same) for values in (steps, processes)]
        lines.append(_row(f"{n_rows:,}", *spreads[:2], share, *spreads[2:], *ratios))
    return lines


def _memory(results: Results) -> list[str]:
    lines = [
        "",
        "## Peak memory, MB (2²⁰ bytes)",
        "",
        "Resident, pages of mapped files included. Where its features would take half of the machine's memory, the",
        "command builds them into files, and XGBoost keeps its bins in files as well (`matrices=external`).",
        "",
        "| rows | command | bare | reference pipeline |",
        "|---|---|---|---|",
    ]
    for n_rows in results.sizes:
        peaks = [results.peaks(name, n_rows) for name in ("stages", "bare", "reference-etl")]
        lines.append(_row(f"{n_rows:,}", *(_spread(values, "{:,.0f}".format) for values in peaks)))
    return lines


def _together(columns: Sequence[Sequence[float]]) -> list[float]:
    """Return the sums of what was measured in the same round."""
    return [sum(values) for values in zip(*columns, strict=False)]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def _spread(values: Sequence[float], form: Callable[[float], str] = _seconds) -> str:
    """Return the median, and the range if there is one."""
    if not values:
        return "–"
    middle = form(median(values))
    return middle if len(values) == 1 else f"{middle} ({form(min(values))} to {form(max(values))})"


def _ratio(values: Sequence[float], others: Sequence[float]) -> str:
    return f"{median(values) / median(others):.2f}" if values and others else "–"


def exponent(sizes: Sequence[int], seconds: Sequence[Sequence[float]]) -> float | None:
    """Return b of seconds ~ rows^b, from the smallest to the largest size that was measured; None of one alone."""
    ended = [(n_rows, median(values)) for n_rows, values in zip(sizes, seconds, strict=True) if values]
    if len(ended) < 2:
        return None
    (least, shortest), (most, longest) = ended[0], ended[-1]
    return math.log(longest / shortest) / math.log(most / least)


def draw(results: Results, target: Path) -> None:
    """Draw the seconds of every stage by rows, and those of the bare libraries."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for position, (label, (stages, beside)) in enumerate(ROWS.items()):
        for style, name, shown in (("o-", "stages", stages), ("x--", "bare", beside)):
            ended = [n_rows for n_rows in results.sizes if shown and results.seconds(name, n_rows, *shown)]
            middle = [median(results.seconds(name, n_rows, *shown)) for n_rows in ended]
            legend = label.partition(":")[0] if name == "stages" else None
            axes.plot(ended, middle, style, color=f"C{position}", label=legend)
    axes.plot([], [], "x--", color="grey", label="bare libraries")
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="seconds", title="Seconds by rows")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize="small")
    figure.savefig(target, dpi=120, format="png")
    plt.close(figure)
