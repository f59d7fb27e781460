"""Comments on pipelines and published runs, and the notifications they and offshoots cause.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE comments (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    pipeline_id uuid REFERENCES pipelines (id) ON DELETE CASCADE,
    run_id uuid REFERENCES runs (id) ON DELETE CASCADE,
    author_id uuid REFERENCES people (id) ON DELETE SET NULL,
    parent_id uuid REFERENCES comments (id) ON DELETE CASCADE,
    thread_id uuid NOT NULL GENERATED ALWAYS AS (coalesce(parent_id, id)) STORED,
    body text NOT NULL CHECK (length(body) <= 5000),
    mentioned uuid[] NOT NULL DEFAULT '{}',
    once text,
    created_at timestamptz NOT NULL DEFAULT now(),
    edited_at timestamptz,
    deleted_at timestamptz,
    deleted_by text CHECK (deleted_by IN ('author', 'owner', 'moderator')),
    UNIQUE (author_id, once),
    CONSTRAINT comments_one_thing CHECK (num_nonnulls(pipeline_id, run_id) = 1),
    CONSTRAINT comments_deleted CHECK ((deleted_at IS NULL) = (deleted_by IS NULL)),
    CONSTRAINT comments_author CHECK (author_id IS NOT NULL OR deleted_at IS NOT NULL)
);
CREATE INDEX comments_pipeline ON comments (pipeline_id, thread_id, id) WHERE pipeline_id IS NOT NULL;
CREATE INDEX comments_run ON comments (run_id, thread_id, id) WHERE run_id IS NOT NULL;
CREATE INDEX comments_pipeline_newest ON comments (pipeline_id, id) WHERE pipeline_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX comments_run_newest ON comments (run_id, id) WHERE run_id IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX comments_parent ON comments (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX comments_author_newest ON comments (author_id, created_at);

CREATE FUNCTION forget_words() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN NEW.body := ''; NEW.mentioned := '{}'; NEW.once := NULL; NEW.deleted_at := coalesce(OLD.deleted_at, now()); NEW.deleted_by := coalesce(OLD.deleted_by, 'author'); RETURN NEW; END $$;
CREATE TRIGGER comments_forget BEFORE UPDATE OF author_id ON comments FOR EACH ROW
    WHEN (NEW.author_id IS NULL) EXECUTE FUNCTION forget_words();

CREATE TABLE notifications (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    person_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    kind text NOT NULL CHECK (kind IN ('comment', 'reply', 'mention', 'fork')),
    actor_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    comment_id uuid REFERENCES comments (id) ON DELETE CASCADE,
    pipeline_id uuid REFERENCES pipelines (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    read_at timestamptz,
    UNIQUE (comment_id, person_id),
    UNIQUE (pipeline_id, person_id),
    CONSTRAINT notifications_one_thing CHECK (
        num_nonnulls(comment_id, pipeline_id) = 1 AND (kind = 'fork') = (pipeline_id IS NOT NULL)),
    CONSTRAINT notifications_not_for_oneself CHECK (person_id <> actor_id)
);
CREATE INDEX notifications_person ON notifications (person_id, id);
CREATE INDEX notifications_unread ON notifications (person_id, id) WHERE read_at IS NULL;
CREATE INDEX notifications_actor ON notifications (actor_id);
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE notifications, comments")
    op.execute("DROP FUNCTION forget_words")
