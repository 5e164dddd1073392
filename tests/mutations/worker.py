"""Judges cases one after the other and prints a line of each: a process of its own, which a case may hang or end."""

import json
import sys
from pathlib import Path

from spotify_ml.config.run import DataConfig
from spotify_ml.data.sources import read_tracks
from spotify_ml.utils.paths import PACKAGE
from tests.mutations.catalogue import cases
from tests.mutations.judge import Judge


def main() -> None:
    """Judge the cases that the arguments name."""
    asked = json.loads(sys.argv[1])
    path = PACKAGE / "data" / "sample" / "spotify_by_genre.parquet"
    tracks = read_tracks(DataConfig(name="sample", path=str(path))).frame.head(500)
    judge = Judge(asked["model"], asked["store"], Path(asked["folder"]), asked["port"])
    # Whatever a case prints is no line of ours.
    lines = sys.stdout
    sys.stdout = sys.stderr
    for number, case in enumerate(cases(tracks, asked["seed"], asked["start"], asked["stop"]), asked["start"]):
        lines.write(json.dumps({"number": number, "mode": case.mode, "name": case.name}) + "\n")
        lines.flush()
        outcome = judge.judge(case)
        lines.write(json.dumps({"number": number, "kind": outcome.kind, "detail": outcome.detail}) + "\n")
        lines.flush()


if __name__ == "__main__":
    main()
