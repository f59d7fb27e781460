"""Weighted votes, reviews, and what large lineages need.

Every statement commits by itself, so that no table is locked longer than one of them takes, and
each can be repeated after an interruption.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

LISTED = "visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL"

COLUMNS = (
    """ALTER TABLE ratings
        ADD COLUMN IF NOT EXISTS owner_id uuid,
        ADD COLUMN IF NOT EXISTS standing integer CONSTRAINT ratings_standing_check CHECK (standing BETWEEN 0 AND 3),
        ADD COLUMN IF NOT EXISTS weigh_at timestamptz NOT NULL DEFAULT now(),
        ADD COLUMN IF NOT EXISTS review text NOT NULL DEFAULT '',
        ADD COLUMN IF NOT EXISTS reviewed_at timestamptz""",
    """ALTER TABLE pipelines
        ADD COLUMN IF NOT EXISTS rating_tally integer[] NOT NULL DEFAULT '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}',
        ADD COLUMN IF NOT EXISTS grown_count integer NOT NULL DEFAULT 0""",
)

TRIGGERS = (
    # A vote without a standing is not counted yet.
    """CREATE OR REPLACE FUNCTION tally_rating() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'INSERT' AND OLD.standing IS NOT NULL THEN
            UPDATE pipelines SET rating_tally[OLD.standing * 5 + OLD.stars] =
                rating_tally[OLD.standing * 5 + OLD.stars] - 1 WHERE id = OLD.pipeline_id;
        END IF;
        IF TG_OP <> 'DELETE' AND NEW.standing IS NOT NULL THEN
            UPDATE pipelines SET rating_tally[NEW.standing * 5 + NEW.stars] =
                rating_tally[NEW.standing * 5 + NEW.stars] + 1 WHERE id = NEW.pipeline_id;
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE OR REPLACE TRIGGER ratings_given AFTER INSERT OR DELETE ON ratings
        FOR EACH ROW EXECUTE FUNCTION tally_rating()""",
    """CREATE OR REPLACE TRIGGER ratings_changed AFTER UPDATE OF stars, standing ON ratings
        FOR EACH ROW WHEN ((OLD.stars, OLD.standing) IS DISTINCT FROM (NEW.stars, NEW.standing))
        EXECUTE FUNCTION tally_rating()""",
    # The first of a line counts what other people list in it.
    """CREATE OR REPLACE FUNCTION count_grown() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        before integer := 0;
        after integer := 0;
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            before := (OLD.visibility = 'public' AND OLD.deleted_at IS NULL AND OLD.published_at IS NOT NULL)::int;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            after := (NEW.visibility = 'public' AND NEW.deleted_at IS NULL AND NEW.published_at IS NOT NULL)::int;
        END IF;
        IF before <> after THEN
            UPDATE pipelines SET grown_count = grown_count + after - before
            WHERE id = coalesce(NEW.root_id, OLD.root_id) AND owner_id <> coalesce(NEW.owner_id, OLD.owner_id);
        END IF;
        RETURN NULL;
    END $$""",
    # At the end of the transaction: the first of the line is then always the last row that is locked.
    "DROP TRIGGER IF EXISTS pipelines_grown_by ON pipelines",
    """CREATE CONSTRAINT TRIGGER pipelines_grown_by
        AFTER INSERT OR DELETE OR UPDATE OF visibility, deleted_at, published_at ON pipelines
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_grown()""",
)

INDEXES = (
    "ratings_rater ON ratings (person_id, owner_id)",
    "ratings_weigh ON ratings (weigh_at)",
    "ratings_reviews ON ratings (pipeline_id, reviewed_at DESC, person_id DESC) WHERE review <> ''",
    f"pipelines_grown ON pipelines (grown_count DESC, id DESC) WHERE {LISTED} AND parent_id IS NULL",
    f"pipelines_line ON pipelines (root_id, published_at DESC, id DESC) WHERE {LISTED}",
    "pipelines_generation ON pipelines (root_id, generation DESC)",
    "pipelines_twigs ON pipelines (parent_id, (visibility <> 'public' OR deleted_at IS NOT NULL), id)",
)
REPLACED = ("ratings_person", "pipelines_root")

# Votes from before: the housekeeping finds their standing, and until then they count as settled ones.
OWNERS = """
WITH older AS (SELECT pipeline_id, person_id FROM ratings WHERE standing IS NULL LIMIT 20000 FOR UPDATE)
UPDATE ratings r SET owner_id = p.owner_id, standing = 2, weigh_at = now()
FROM older s JOIN pipelines p ON p.id = s.pipeline_id
WHERE r.pipeline_id = s.pipeline_id AND r.person_id = s.person_id
"""
GROWN = """
UPDATE pipelines p SET grown_count = line.grown
FROM (SELECT c.root_id, count(*) AS grown FROM pipelines c JOIN pipelines root ON root.id = c.root_id
      WHERE c.visibility = 'public' AND c.deleted_at IS NULL AND c.published_at IS NOT NULL
        AND c.owner_id <> root.owner_id GROUP BY c.root_id) line
WHERE p.id = line.root_id AND p.grown_count <> line.grown
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = '1h'")
        op.execute("SET lock_timeout = '10min'")
        for statement in (*COLUMNS, *TRIGGERS):
            op.execute(statement)
        while op.get_bind().exec_driver_sql(OWNERS).rowcount:
            pass
        op.execute(GROWN)
        for index in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.partition(' ')[0]}")
            op.execute(f"CREATE INDEX CONCURRENTLY {index}")
        for index in REPLACED:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
        op.execute("SET lock_timeout = '4s'")
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    raise NotImplementedError("Going back below this schema means restoring a backup")
