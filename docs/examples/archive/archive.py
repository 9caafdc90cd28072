"""Ask DuckDB about an archive of Epicenter, and print the answer as JSON.

    pip install -r requirements.txt
    python archive.py DIRECTORY/events "SELECT reason, count(*) FROM archive GROUP BY 1 ORDER BY 2 DESC"

`archive` is the table. For one on S3 give its URL, and the AWS_* variables that `deltalake` and DuckDB read.
"""

import json
import sys

import duckdb
from deltalake import DeltaTable

table, query = sys.argv[1:]
# Delta's log says which files are the table now: others wait for the next vacuum, or never came to be part of it.
files = DeltaTable(table).file_uris()
database = duckdb.connect()
database.execute("SET TimeZone = 'UTC'")
database.execute(
    f"CREATE VIEW archive AS SELECT * FROM read_parquet({files!r}, hive_partitioning = true, filename = true, "
    "file_row_number = true)"
)
answer = database.execute(query)
names = [column[0] for column in answer.description]
print(json.dumps([dict(zip(names, row)) for row in answer.fetchall()], default=str))
