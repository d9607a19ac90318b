"""What bench_report.py serves. The tables hold no more than the rows that are answered, in the order in which they are: nothing
has to be computed.
"""

import os
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Query
from sqlmodel import Field, Session, SQLModel, create_engine, select


class Rank(SQLModel, table=True):
    __tablename__ = "bench_rank"

    id: int | None = Field(default=None, primary_key=True)
    rank: int = Field(index=True)
    model_id: str
    model_name: str
    cruncher_name: str | None
    baseline: bool
    score: float | None
    raw_score: float | None
    prediction_count: int
    full: bool


class Score(SQLModel, table=True):
    __tablename__ = "bench_score"

    id: int | None = Field(default=None, primary_key=True)
    model_id: str = Field(index=True)
    score_recent: float | None
    score_steady: float | None
    score_anchor: float | None
    performed_at: datetime = Field(index=True)


class RankOut(SQLModel):
    rank: int
    model_id: str
    model_name: str
    cruncher_name: str | None
    baseline: bool
    score: float | None
    raw_score: float | None
    prediction_count: int
    full: bool


class LeaderboardOut(SQLModel):
    window: str
    count: int
    models: list[RankOut]


class ScoreOut(SQLModel):
    model_id: str
    score_recent: float | None
    score_steady: float | None
    score_anchor: float | None
    performed_at: datetime


def engine(database):
    return create_engine(database.replace("postgres://", "postgresql+psycopg://"), pool_size=20)


def app():
    """Made in each of uvicorn's processes."""
    connections = engine(os.environ["BENCH_DATABASE"])
    api = FastAPI()

    def session():
        with Session(connections) as session:
            yield session

    @api.get("/leaderboard")
    def leaderboard(
        session: Annotated[Session, Depends(session)], window: str = "recent", limit: Annotated[int, Query(le=1000)] = 100
    ) -> LeaderboardOut:
        rows = session.exec(select(Rank).order_by(Rank.rank).limit(limit)).all()
        return LeaderboardOut(window=window, count=len(rows), models=[RankOut.model_validate(row) for row in rows])

    @api.get("/reports/models/global")
    def scores(session: Annotated[Session, Depends(session)], start: datetime, end: datetime) -> list[ScoreOut]:
        chosen = select(Score).where(Score.performed_at >= start, Score.performed_at <= end).order_by(Score.id)
        return session.exec(chosen).all()

    return api
