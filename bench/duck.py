"""Times queries in DuckDB on the files of an archive's tables: `duck.py DIRECTORY QUERIES`.

QUERIES is a JSON list of questions, each a list of queries. Prints a JSON list: of each question the seconds and the rows.
"""

import json
import sys
import time

import duckdb
from deltalake import DeltaTable

directory, questions = sys.argv[1:]
database = duckdb.connect()
database.execute("SET TimeZone = 'UTC'")
for table in ["events", "incident_changes"]:
    files = DeltaTable(f"{directory}/{table}").file_uris()
    database.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({files!r}, hive_partitioning = true)")
database.execute("SELECT count(*) FROM events").fetchall()
answers = []
for question in json.load(open(questions)):
    began = time.monotonic()
    rows = [len(database.execute(query).fetchall()) for query in question]
    answers.append([time.monotonic() - began, rows[-1]])
print(json.dumps(answers))
