"""Collections, bookmarks, follows, and the addresses of private feeds.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

INDEXES = {
    "runs_published_by": """runs (owner_id, published_at DESC, id DESC) WHERE visibility = 'published'""",
    "pipelines_parent_newest": """pipelines (parent_id, published_at DESC, id DESC)
        WHERE visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL""",
}
"""Of tables that live sites have filled: built while they are written to."""

TABLES = """
CREATE TABLE collections (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    owner_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    title text NOT NULL,
    about text NOT NULL DEFAULT '',
    visibility text NOT NULL DEFAULT 'private' CHECK (visibility IN ('public', 'private')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX collections_owner ON collections (owner_id, id DESC);

CREATE TABLE collection_items (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    collection_id uuid NOT NULL REFERENCES collections (id) ON DELETE CASCADE,
    position integer NOT NULL,
    pipeline_id uuid NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    run_id uuid REFERENCES runs (id) ON DELETE CASCADE,
    note text NOT NULL DEFAULT '',
    added_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (collection_id, pipeline_id, run_id)
);
CREATE INDEX collection_items_place ON collection_items (collection_id, position, id);
CREATE INDEX collection_items_newest ON collection_items (collection_id, id DESC);
CREATE INDEX collection_items_pipeline ON collection_items (pipeline_id);
CREATE INDEX collection_items_run ON collection_items (run_id) WHERE run_id IS NOT NULL;

CREATE TABLE bookmarks (
    person_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    pipeline_id uuid NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (person_id, pipeline_id)
);
CREATE INDEX bookmarks_newest ON bookmarks (person_id, created_at DESC, pipeline_id DESC);
CREATE INDEX bookmarks_pipeline ON bookmarks (pipeline_id);

CREATE TABLE follows (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    follower_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    person_id uuid REFERENCES people (id) ON DELETE CASCADE,
    tag text,
    pipeline_id uuid REFERENCES pipelines (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (follower_id, person_id, tag, pipeline_id),
    CONSTRAINT follows_one CHECK (num_nonnulls(person_id, tag, pipeline_id) = 1),
    CONSTRAINT follows_others CHECK (person_id <> follower_id)
);
CREATE INDEX follows_newest ON follows (follower_id, id DESC);
CREATE INDEX follows_person ON follows (person_id) WHERE person_id IS NOT NULL;
CREATE INDEX follows_pipeline ON follows (pipeline_id) WHERE pipeline_id IS NOT NULL;

CREATE TABLE feed_keys (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    person_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    list text NOT NULL CHECK (list IN ('following', 'bookmarks', 'notifications', 'collection')),
    collection_id uuid REFERENCES collections (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (person_id, list, collection_id),
    CONSTRAINT feed_keys_collection CHECK ((list = 'collection') = (collection_id IS NOT NULL))
);
CREATE INDEX feed_keys_collection_id ON feed_keys (collection_id) WHERE collection_id IS NOT NULL;
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # building waits for old transactions but holds up nobody
        op.execute("SET statement_timeout = '30min'")
        op.execute("SET lock_timeout = '10min'")
        for name, definition in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
        op.execute("SET statement_timeout = '60s'")
        op.execute("SET lock_timeout = '4s'")
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    for table in ("feed_keys", "follows", "bookmarks", "collection_items", "collections"):
        op.execute(f"DROP TABLE {table}")
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
