"""Tests of the model card in the store: an artifact of the run, and what the registry says of the version."""

from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.pyfunc import load_model

from spotify_ml.reports.model_card import FILES
from spotify_ml.tracking.limits import DESCRIPTION_LENGTH, shortened
from tests.tracking.conftest import MODEL, Store


def test_card_is_an_artifact_and_the_description_of_the_version(store: Store):
    client, run_id = MlflowClient(store.uri), store.summary.run_id
    listed = {entry.path for entry in client.list_artifacts(run_id, "model_card")}
    assert listed == {f"model_card/{name}" for name in FILES}
    written = {name: (store.folder / "run" / "model_card" / name).read_bytes() for name in FILES}
    logged = {name: Path(client.download_artifacts(run_id, f"model_card/{name}")).read_bytes() for name in FILES}
    assert logged == written
    card = written["model_card.md"].decode()
    description = client.get_model_version(MODEL, "1").description
    assert description == shortened(card, "the artifact `model_card/model_card.md` of the version's run")
    assert "## Rows of which something is not known" in description
    assert str(store.folder) not in card


def test_card_loads_the_model_it_is_of(store: Store):
    card = (store.folder / "run" / "model_card" / "model_card.md").read_text(encoding="utf-8")
    uri = card.partition('load_model("')[2].partition('"')[0]
    assert uri == store.summary.model_uri
    mlflow.set_tracking_uri(store.uri)
    assert load_model(uri).predict(store.rows.head(2)).shape == (2,)


def test_a_long_text_is_cut_at_a_line_and_says_where_the_rest_is():
    text = "\n".join(f"line {number}" for number in range(2000))
    cut = shortened(text, "the artifact")
    assert len(cut) <= DESCRIPTION_LENGTH
    kept, _, ending = cut.rpartition("\n\n")
    assert text.startswith(kept + "\n")
    assert ending == "The rest is in the artifact."
    assert shortened("short", "the artifact") == "short"
