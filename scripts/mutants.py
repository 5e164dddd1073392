"""Break one line of the features at a time, and see whether the tests notice.

    python scripts/mutants.py                        # of this checkout
    python scripts/mutants.py HEAD ef9a514           # of commits, side by side

Each mutant is a copy of the commit with one line changed; the tests of features and of leakage are run on it until the
first of them fails. The lines are some that every commit since ef9a514 has. Exit code 1 if a mutant was not noticed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/features", "tests/behaviour/test_leakage.py")
# A text that stands once in the code of the features, and what takes its place.
MUTANTS = {
    "a row's own fold is counted": ("totals[codes, column] - own", "totals[codes, column]"),
    "a row's own maximum is told": ("rest[leader] = -np.inf", "rest[leader] = highest[codes][leader]"),
    "dead is below, not up to": ("(y <= DEAD)", "(y < DEAD)"),
    "squares are left out": ("(None, y, y * y,", "(None, y, y,"),
    "the mean of the others has the own fold": ("counts, sums.sum() - sums", "counts, sums.sum() + 0 * sums"),
    "the number of the others has the own fold": ("len(y) - counts,", "len(y) + 0 * counts,"),
    "folds divide groups": ("return folds[codes]", "return np.arange(len(codes)) % n_splits"),
    "folds do not know the seed": ("shuffle=True, random_state=random_state", "shuffle=False"),
    "the prior counts for nothing": ("weight = count + self.smoothing", "weight = count"),
    "the prior is not smoothed in": ("(total + self.smoothing * prior)", "total"),
    "a lone group knows the mean": ("np.maximum(n_others, 1), MIDDLE)", "np.maximum(n_others, 1), y.mean())"),
    "spread is not a root": ("np.sqrt(np.maximum(variance, 0))", "np.maximum(variance, 0)"),
    "keys in another order are equal": ("joint * np.uint64(3) + column", "joint + column"),
    "an empty key is a key": ("codes[np.isin(codes, empty)] = -1", "pass"),
    "unknown keys are known": ("self.keys_[positions] == hashes if", "self.keys_[positions] >= hashes if"),
    "a list's member counts twice": ("list(dict.fromkeys(filter(None,", "list(tuple(filter(None,"),
    "the last artist stands for the first": (
        "value.partition(LIST_SEPARATOR)[0]",
        "value.rpartition(LIST_SEPARATOR)[2]",
    ),
    "an album falls back to genres": (
        '"album": Level(("album_name",), "artist")',
        '"album": Level(("album_name",), "genres")',
    ),
    "a list of genres is reversed": ("LIST_SEPARATOR.join(members) or None", "LIST_SEPARATOR.join(members[::-1])"),
    "genres of a track are not counted": ("flags[row, -1] = len(genres)", "flags[row, -1] = 1"),
    "the first level is kept": ("for level in levels[1:]])", "for level in levels[:-1]])"),
    "short tracks are long ones": ("minutes < 3", "minutes > 3"),
    "an unknown key has a spread": ("statistics[count == 0, 2:] = np.nan", "statistics[count == 0, 3:] = np.nan"),
    "a year is of this century": (r"\b(?:19|20)\d\d\b", r"\b20\d\d\b"),
}


def main() -> None:
    """Try every mutant on every commit, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="*", default=["HEAD"], help="which (HEAD)")
    parser.add_argument("--only", nargs="+", choices=MUTANTS, default=list(MUTANTS), help="which mutants (all)")
    given = parser.parse_args()
    print("| mutant | " + " | ".join(given.commits) + " |")
    print("|---" * (len(given.commits) + 1) + "|")
    missed = 0
    for name in given.only:
        noticed = [is_noticed(commit, *MUTANTS[name]) for commit in given.commits]
        missed += noticed.count(False)
        print(f"| {name} | " + " | ".join("caught" if each else "NOT CAUGHT" for each in noticed) + " |", flush=True)
    sys.exit(missed > 0)


def is_noticed(commit: str, text: str, change: str) -> bool:
    """Return whether a test fails on a commit in whose features a text is changed.

    Raises
    ------
    ValueError
        If the text does not stand there exactly once, or no test ran.
    """
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        mutate(Path(folder), text, change)
        return not tests_pass(Path(folder))


def mutate(checkout: Path, text: str, change: str) -> None:
    """Replace a text that stands once in the features of a checkout."""
    sources = [path for path in (checkout / "spotify_ml" / "features").rglob("*.py") if text in path.read_text()]
    if len(sources) != 1 or sources[0].read_text().count(text) != 1:
        raise ValueError(f"{text!r} does not stand once in the features, but in {[path.name for path in sources]}")
    sources[0].write_text(sources[0].read_text().replace(text, change))


def tests_pass(checkout: Path) -> bool:
    """Run the tests of a checkout until one fails, and return whether none did."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow and not full"]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    tests = [test for test in TESTS if (checkout / test).exists()]
    end = subprocess.run([*command, *tests], cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if end.returncode not in (0, 1):
        raise ValueError(f"the tests did not run:\n{end.stdout[-2000:]}{end.stderr[-2000:]}")
    return end.returncode == 0


if __name__ == "__main__":
    main()
