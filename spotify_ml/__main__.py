"""``python -m spotify_ml``: which commands there are."""

from spotify_ml.utils.version import __version__

COMMANDS = {
    "train": "train a model, and record and register it",
    "predict": "score files of raw tracks",
    "serve": "answer requests over HTTP",
    "live": "say which version is better on live traffic",
    "promote": "make a version the champion, if it passes the gate",
    "compare": "compare runs or versions",
    "profile": "describe raw data on a page",
    "relocate": "repair a local store whose folder was moved",
}


def main() -> None:
    """Print the commands."""
    print(f"spotify_ml {__version__}")
    for name, purpose in COMMANDS.items():
        print(f"  python -m spotify_ml.{name:<10}{purpose}")
    print("Add --help to a command for its keys.")


if __name__ == "__main__":
    main()
