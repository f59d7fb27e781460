"""Runs the migrations against DATABASE_URL, with short locks so that a busy site keeps answering."""

from alembic import context
from sqlalchemy import create_engine, pool, text

from domain.config import Config


def run() -> None:
    url = context.config.get_main_option("sqlalchemy.url") or Config.from_env().database_url
    url = "postgresql+psycopg://" + url.split("://", 1)[1]
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text("SET lock_timeout = '4s'"))
        connection.execute(text("SET statement_timeout = '60s'"))
        connection.commit()
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


run()
