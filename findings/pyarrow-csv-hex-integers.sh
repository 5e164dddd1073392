#!/usr/bin/env bash
# pyarrow 25.0.1 reads 0x5 in a CSV as the integer 5 where the column is int64, and refuses the same text where it is float64.
# With its own inference the column is read as integers too. A file with one such cell is therefore read or refused by the type
# that a reader happens to ask for.
# Guess before the first run: it is refused for both, as pandas and Python's int() refuse it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet pyarrow==25.0.1

"$work/env/bin/python" - <<'PYTHON'
import pyarrow as pa
import pyarrow.csv as csv

content = b"key,tempo\n0x5,1\n7,2\n"


def read(kind: pa.DataType | None) -> str:
    types = {} if kind is None else {"key": kind}
    try:
        column = csv.read_csv(pa.BufferReader(content), convert_options=csv.ConvertOptions(column_types=types)).column("key")
    except pa.ArrowInvalid as error:
        return f"refused ({str(error).partition('CSV conversion error ')[2]})"
    return f"{column.to_pylist()} as {column.type}"


found = {str(kind): read(kind) for kind in (None, pa.int64(), pa.float64())}
print(f"pyarrow {pa.__version__}: {found}")
assert found["None"] == found["int64"] == "[5, 7] as int64", found
assert found["double"].startswith("refused"), found
PYTHON
