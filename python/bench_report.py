"""The other side of `cargo xtask bench report`: leaderboard and scores over time as FastAPI, SQLModel and uvicorn serve them.

    bench_report.py --versions                       what is measured
    bench_report.py --fill DATABASE URL MONTH        copies the rows that are answered at URL, and at MONTH there, into tables
    bench_report.py --serve DATABASE PORT WORKERS    serves them
"""

import importlib.metadata
import json
import os
import sys
import urllib.request
from datetime import datetime

import uvicorn
from bench_report_app import Rank, Score, engine
from sqlmodel import Session, SQLModel

PACKAGES = ["fastapi", "sqlmodel", "sqlalchemy", "psycopg", "uvicorn", "uvloop", "httptools"]


def read(url):
    with urllib.request.urlopen(url) as response:
        return json.load(response)


def fill(database, url, month):
    connections = engine(database)
    SQLModel.metadata.drop_all(connections)
    SQLModel.metadata.create_all(connections)
    ranks = read(f"{url}/leaderboard?limit=1000")["models"]
    scores = read(url + month)
    with Session(connections) as session:
        session.add_all(Rank(**row) for row in ranks)
        for row in scores:
            session.add(Score(**{**row, "performed_at": datetime.fromisoformat(row["performed_at"] + "Z")}))
        session.commit()
    print(json.dumps({"ranks": len(ranks), "scores": len(scores)}))


def main(arguments):
    match arguments:
        case ["--versions"]:
            print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES))
        case ["--fill", database, url, month]:
            fill(database, url, month)
        case ["--serve", database, port, workers]:
            os.environ["BENCH_DATABASE"] = database
            uvicorn.run(
                "bench_report_app:app", factory=True, port=int(port), workers=int(workers), log_level="error", access_log=False
            )
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
