#!/usr/bin/env bash
# read_csv of DuckDB 2.0.1 finds out by itself what quotes text in a CSV. Where no double quote stands in what it looks at, an
# apostrophe at both ends of a field is taken for one: titles lose their apostrophes, and two titles that are an apostrophe
# alone become one row of text, with no error. The same rows with quotechar given, or read by pandas, are as they were.
# Guess before the first run: RFC 4180's quote unless an option says otherwise.
# Documented: https://duckdb.org/docs/stable/data/csv/auto_detection names both quotes as candidates of the sniffer.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet duckdb==2.0.1 pandas==3.1.1

cd "$work"
env/bin/python - <<'PYTHON'
from pathlib import Path

import duckdb
import pandas as pd

titles = Path("titles.csv")
titles.write_text("number,title\n1,'Til Tomorrow'\n2,'Round Midnight'\n")
by_duckdb = duckdb.read_csv(str(titles)).fetchall()
told = duckdb.read_csv(str(titles), quotechar='"').fetchall()
by_pandas = list(pd.read_csv(titles).itertuples(index=False, name=None))
print(f"DuckDB {duckdb.__version__}: {by_duckdb}\nwith quotechar: {told}\npandas {pd.__version__}: {by_pandas}")
assert told == by_pandas == [(1, "'Til Tomorrow'"), (2, "'Round Midnight'")]
assert by_duckdb == [(1, "Til Tomorrow"), (2, "Round Midnight")]

titles.write_text("number,title\n1,'\n2,'\n")
merged = duckdb.read_csv(str(titles)).fetchall()
print(f"two titles of one apostrophe: {merged}")
assert merged == [(1, "\n2,")]
PYTHON
