"""`domain/tables.py` says what the migrations made: columns, types, null, keys. What only the database has is named."""

from typing import Any

import asyncpg
import pytest
from piccolo.columns import Array, ForeignKey
from piccolo.columns.base import Column
from piccolo.table import Table

from domain import tables

TYPES = {
    "BIGINT": "bigint",
    "BIT(64)": "bit(64)",
    "BOOLEAN": "boolean",
    "BYTEA": "bytea",
    "DOUBLE PRECISION": "double precision",
    "INTEGER": "integer",
    "INTEGER[]": "integer[]",
    "JSONB": "jsonb",
    "TEXT": "text",
    "TEXT[]": "text[]",
    "TIMESTAMPTZ": "timestamp with time zone",
    "TSVECTOR": "tsvector",
    "UUID": "uuid",
    "VECTOR(384)": "vector(384)",
    "UUID[]": "uuid[]",
}
COMPOSITE_KEYS = {
    "renditions": ("source", "width"),
    "forms": ("source", "form"),
    "outputs": ("step_run_id", "position"),
    "ratings": ("pipeline_id", "person_id"),
    "growers": ("pipeline_id", "line", "person_id"),
    "search_words": ("kind", "word"),
    "bookmarks": ("person_id", "pipeline_id"),
    "grid_cells": ("grid_id", "cell"),
}
"""Primary keys over several columns, which Piccolo cannot say."""

ONLY_IN_THE_DATABASE = {
    # unique constraints over several columns
    "collection_items_collection_id_pipeline_id_run_id_key",
    "feed_keys_person_id_list_collection_id_key",
    "follows_follower_id_person_id_tag_pipeline_id_key",
    "drafts_person_id_pipeline_id_key",
    "grids_owner_id_idempotency_key_key",
    "runs_owner_id_idempotency_key_key",
    "runs_pipeline_id_number_key",
    "step_runs_run_id_ordinal_key",
    "uploads_person_id_sha256_key",
    "versions_pipeline_id_number_key",
    "comments_author_id_once_key",
    "notifications_comment_id_person_id_key",
    "notifications_pipeline_id_person_id_key",
    # unique without regard to case
    "people_email_key",
    "people_handle_key",
    "people_look",
    # lists of the gallery: partial
    "pipelines_best",
    "pipelines_request",
    "pipelines_most_grown",
    "pipelines_line",
    "pipelines_medium",
    "pipelines_newest",
    "pipelines_most_offshoots",
    "pipelines_tags",
    "pipelines_trend",
    "grids_published",
    "runs_published",
    "runs_published_owner",
    "pipelines_owner_newest",
    # lists of one person, and what is new for followers
    "bookmarks_newest",
    "collection_items_newest",
    "collection_items_place",
    "collections_owner",
    "consents_newest",
    "follows_newest",
    "pipelines_parent_newest",
    "runs_news",
    "runs_news_by",
    "grids_news_by",
    # a line's depth, and offshoots with public ones first
    "pipelines_generation",
    "pipelines_twigs",
    # who grew something, and what is to be counted again: partial
    "pipelines_grower",
    "pipelines_line_grower",
    "pipelines_recount",
    # reviews, and votes and offshoots to be weighed again
    "ratings_reviews",
    "ratings_weigh",
    "growers_weigh",
    # who uses an upload: expressions
    "drafts_files",
    "versions_files",
    # what somebody agrees to now: partial
    "consents_standing",
    # what a sweep removes: partial
    "artifacts_deleting",
    # the queue: partial
    "runs_alive",
    "step_runs_due",
    "step_runs_known",
    "step_runs_leases",
    "step_runs_recent",
    "step_runs_served",
    "step_runs_turn",
    # search: GIN, beginnings of titles, partial
    "search_documents_found",
    "search_texts_folded",
    "search_words_alike",
    "search_words_unused",
    # similar prompts and pictures: HNSW, and what is still to be filled in
    "embeddings_encoder",
    "embeddings_near",
    "likenesses_due",
    "likenesses_near",
    # the other side of foreign keys
    "bookmarks_pipeline",
    "collection_items_pipeline",
    "collection_items_run",
    "feed_keys_collection_id",
    "follows_person",
    "follows_pipeline",
    # comments in their order, and the newest first: partial
    "comments_author_newest",
    "comments_pipeline",
    "comments_pipeline_newest",
    "comments_run",
    "comments_run_newest",
    # a person's news
    "notifications_person",
    "notifications_unread",
    # the other side of foreign keys
    "comments_parent",
    "notifications_actor",
    "events_run",
    "forms_sha256",
    "grids_owner",
    "grids_pipeline",
    "grids_version",
    "outputs_sha256",
    "pipelines_cover",
    "pipelines_owner",
    "pipelines_parent",
    "ratings_rater",
    "growers_grower",
    "renditions_sha256",
    "runs_owner",
    "runs_version_seed",
    "step_runs_reused_from",
    "sessions_person",
    "uploads_sha256",
    "versions_parent",
}
CHECKS = {
    "artifacts_sha256_check",
    "artifacts_state_check",
    "collections_visibility_check",
    "consents_sha256_check",
    "feed_keys_collection",
    "feed_keys_list_check",
    "follows_one",
    "follows_others",
    "comments_author",
    "comments_body_check",
    "comments_deleted",
    "comments_deleted_by_check",
    "comments_one_thing",
    "notifications_kind_check",
    "notifications_not_for_oneself",
    "notifications_one_thing",
    "grid_cells_cell_check",
    "people_role_check",
    "pipelines_generation_check",
    "pipelines_medium_check",
    "pipelines_visibility_check",
    "ratings_standing_check",
    "growers_standing_check",
    "ratings_stars_check",
    "runs_check",
    "runs_check1",
    "runs_state_check",
    "runs_visibility_check",
    "step_runs_check",
    "step_runs_ordinal_check",
    "step_runs_state_check",
    "versions_number_check",
}
"""Every CHECK constraint; one over several columns is called after its table."""
DEFAULTS = {
    "people": "id name about role created_at",
    "sessions": "created_at seen_at",
    "models": "id license defaults means created_at words files told limits",
    "model_readings": "done began_at seen_at fault",
    "artifacts": "state touched_at",
    "uploads": "id filename created_at",
    "consents": "id given_at",
    "pipelines": """id description tags license visibility generation latest_version run_count offshoot_count
        rating_count rating_sum rating_score trend prompt model medium cover_text created_at updated_at
        rating_tally grown_count offshoot_tally grown_tally offshoot_weight grown_weight recount_due""",
    "versions": "id note created_at",
    "drafts": "id saved_at",
    "runs": "afresh turn id inputs state visibility created_at changes apart",
    "grids": "id inputs created_at",
    "step_runs": """id model batch_key state priority turn attempt crash_count retry_count not_before nudge_at
        progress progress_total phase needs""",
    "events": "id data at",
    "search_documents": "number",
    "search_changes": "id",
    "embeddings": "encoder",
    "likenesses": "due",
    "collections": "id about visibility created_at updated_at",
    "collection_items": "id note added_at",
    "bookmarks": "created_at",
    "follows": "id created_at",
    "feed_keys": "id created_at",
    "comments": "id thread_id mentioned created_at",
    "notifications": "id created_at",
    "ratings": "created_at updated_at weigh_at review",
}
"""The columns that an INSERT may leave out because the server fills them."""
EXTENSIONS = {"plpgsql", "vector", "pg_trgm", "unaccent"}

every_table = pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table._meta.tablename)


async def test_the_same_tables(db: Any) -> None:
    rows = await db.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
    )
    assert {row["tablename"] for row in rows} == {table._meta.tablename for table in tables.TABLES}


@every_table
async def test_columns_types_and_null(db: Any, table: type[Table]) -> None:
    rows = await db.fetch(
        """
        SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull
        FROM pg_attribute a WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
        """,
        table._meta.tablename,
    )
    added = "id" if table._meta.tablename in COMPOSITE_KEYS else ""  # by Piccolo, for want of a key it understands
    columns = [column for column in table._meta.columns if column._meta.db_column_name != added]
    assert [(row["attname"], row["type"], row["attnotnull"]) for row in rows] == [
        (column._meta.db_column_name, TYPES[type_of(column)], not column._meta.null) for column in columns
    ]


def type_of(column: Column) -> str:
    """The column's SQL type; a foreign key has that of what it points at."""
    if isinstance(column, ForeignKey):
        return type_of(column._foreign_key_meta.resolved_references._meta.primary_key)
    if isinstance(column, Array):
        return f"{type_of(column.base_column)}[]"
    return str(column.column_type).upper()


@every_table
async def test_primary_keys(db: Any, table: type[Table]) -> None:
    name = table._meta.tablename
    keys = await columns_of(db, name, "p")
    expected = COMPOSITE_KEYS.get(name) or (table._meta.primary_key._meta.db_column_name,)
    assert keys == [expected]


@every_table
async def test_unique_columns(db: Any, table: type[Table]) -> None:
    single = {columns for columns in await columns_of(db, table._meta.tablename, "u") if len(columns) == 1}
    assert single == {(column._meta.db_column_name,) for column in table._meta.columns if column._meta.unique}


@every_table
async def test_foreign_keys(db: Any, table: type[Table]) -> None:
    rows = await db.fetch(
        """
        SELECT a.attname, c.confrelid::regclass::text AS target FROM pg_constraint c
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
        WHERE c.contype = 'f' AND c.conrelid = $1::regclass
        """,
        table._meta.tablename,
    )
    assert {(row["attname"], row["target"]) for row in rows} == {
        (column._meta.db_column_name, column._foreign_key_meta.resolved_references._meta.tablename)
        for column in table._meta.foreign_key_columns
    }


async def columns_of(db: Any, table: str, kind: str) -> list[tuple[str, ...]]:
    """The columns of each constraint of one kind."""
    rows = await db.fetch(
        """
        SELECT array(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k (number, place)
                     JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place) AS names
        FROM pg_constraint c WHERE c.conrelid = $1::regclass AND c.contype = $2::text::"char"
        """,
        table,
        kind,
    )
    return [tuple(row["names"]) for row in rows]


async def test_what_only_the_database_has_is_named_here(db: Any) -> None:
    """An index or constraint that a migration adds or drops must be written into the lists above."""
    rows = await db.fetch(
        """
        SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
        WHERE t.relnamespace = 'public'::regnamespace AND NOT x.indisprimary AND t.relname <> 'alembic_version'
        """
    )
    single = {
        f"{table._meta.tablename}_{column._meta.db_column_name}_key"
        for table in tables.TABLES
        for column in table._meta.columns
        if column._meta.unique
    }
    assert {row["relname"] for row in rows} - single == ONLY_IN_THE_DATABASE
    checks = await db.fetch(
        "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    )
    assert {row["conname"] for row in checks} == CHECKS
    extensions = await db.fetch("SELECT extname FROM pg_extension")
    assert {row["extname"] for row in extensions} == EXTENSIONS


@every_table
async def test_what_the_server_fills(db: Any, table: type[Table]) -> None:
    rows = await db.fetch(
        """
        SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
          AND (atthasdef OR attidentity <> '')
        """,
        table._meta.tablename,
    )
    assert {row["attname"] for row in rows} == set(DEFAULTS.get(table._meta.tablename, "").split())


async def test_every_time_knows_its_zone(db: Any) -> None:
    rows = await db.fetch(
        """SELECT table_name, column_name FROM information_schema.columns
           WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'"""
    )
    assert not rows


@pytest.mark.parametrize("column", ["recipe", "note", "number", "digest"])
async def test_a_version_never_changes(db: Any, make: Any, column: str) -> None:
    await make.pipeline()
    before = await db.fetchrow("SELECT * FROM versions")
    with pytest.raises(asyncpg.RestrictViolationError, match="rows of versions never change"):
        await db.execute(f"UPDATE versions SET {column} = {column}")
    assert await db.fetchrow("SELECT * FROM versions") == before
