"""Offshoots are weighed as votes are; grids among what is new; feeds of one's own runs and grids.

Every statement commits by itself, so that no table is locked longer than one of them takes, and
each can be repeated after an interruption.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

LISTED = "visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL"

TABLES = (
    """CREATE TABLE IF NOT EXISTS growers (
        pipeline_id uuid NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
        person_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
        line boolean NOT NULL,
        owner_id uuid,
        standing integer NOT NULL CHECK (standing BETWEEN 0 AND 3),
        weigh_at timestamptz NOT NULL,
        PRIMARY KEY (pipeline_id, line, person_id)
    )""",
    "CREATE INDEX IF NOT EXISTS growers_grower ON growers (person_id, owner_id)",
    "CREATE INDEX IF NOT EXISTS growers_weigh ON growers (weigh_at)",
    """ALTER TABLE pipelines
        ADD COLUMN IF NOT EXISTS offshoot_tally integer[] NOT NULL DEFAULT '{0,0,0,0}',
        ADD COLUMN IF NOT EXISTS grown_tally integer[] NOT NULL DEFAULT '{0,0,0,0}',
        ADD COLUMN IF NOT EXISTS offshoot_weight integer NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS grown_weight integer NOT NULL DEFAULT 0,
        ADD COLUMN IF NOT EXISTS recount_due boolean NOT NULL DEFAULT false""",
)

# Who grew something before: the housekeeping finds their standing, and until then they count as settled ones.
GROWERS = f"""
INSERT INTO growers (pipeline_id, person_id, line, owner_id, standing, weigh_at)
SELECT DISTINCT up.id, c.owner_id, reached.line, CASE WHEN NOT reached.line THEN up.owner_id END, 2, now()
FROM (SELECT * FROM pipelines WHERE parent_id IS NOT NULL AND {LISTED}) c
CROSS JOIN LATERAL (VALUES (c.parent_id, false), (c.root_id, true)) reached (id, line)
JOIN pipelines up ON up.id = reached.id AND up.owner_id <> c.owner_id
ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants only
TALLIES = """
UPDATE pipelines p SET offshoot_tally = t.near, grown_tally = t.far, recount_due = true FROM (
    SELECT pipeline_id, ARRAY[0, 0, (count(*) FILTER (WHERE NOT line))::int, 0] AS near,
        ARRAY[0, 0, (count(*) FILTER (WHERE line))::int, 0] AS far
    FROM growers GROUP BY pipeline_id) t
WHERE p.id = t.pipeline_id
"""
# What counted before and does not any more, such as one's own.
RECOUNTED = "UPDATE pipelines SET recount_due = true WHERE offshoot_count <> 0 AND NOT recount_due"

TRIGGERS = (
    """CREATE OR REPLACE FUNCTION tally_grower() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            IF OLD.line THEN
                UPDATE pipelines SET grown_tally[OLD.standing + 1] = grown_tally[OLD.standing + 1] - 1,
                    recount_due = recount_due OR TG_OP = 'DELETE' WHERE id = OLD.pipeline_id;
            ELSE
                UPDATE pipelines SET offshoot_tally[OLD.standing + 1] = offshoot_tally[OLD.standing + 1] - 1,
                    recount_due = recount_due OR TG_OP = 'DELETE' WHERE id = OLD.pipeline_id;
            END IF;
        END IF;
        IF TG_OP <> 'DELETE' THEN
            IF NEW.line THEN
                UPDATE pipelines SET grown_tally[NEW.standing + 1] = grown_tally[NEW.standing + 1] + 1
                WHERE id = NEW.pipeline_id;
            ELSE
                UPDATE pipelines SET offshoot_tally[NEW.standing + 1] = offshoot_tally[NEW.standing + 1] + 1
                WHERE id = NEW.pipeline_id;
            END IF;
        END IF;
        RETURN NULL;
    END $$""",
    """CREATE OR REPLACE TRIGGER growers_come_and_go AFTER INSERT OR DELETE ON growers
        FOR EACH ROW EXECUTE FUNCTION tally_grower()""",
    """CREATE OR REPLACE TRIGGER growers_changed AFTER UPDATE OF standing ON growers
        FOR EACH ROW WHEN (OLD.standing <> NEW.standing) EXECUTE FUNCTION tally_grower()""",
    # Votes that go with their giver's account are counted by the housekeeping: nobody else is there to do it.
    """CREATE OR REPLACE FUNCTION tally_rating() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'INSERT' AND OLD.standing IS NOT NULL THEN
            UPDATE pipelines SET rating_tally[OLD.standing * 5 + OLD.stars] =
                rating_tally[OLD.standing * 5 + OLD.stars] - 1,
                recount_due = recount_due OR TG_OP = 'DELETE' WHERE id = OLD.pipeline_id;
        END IF;
        IF TG_OP <> 'DELETE' AND NEW.standing IS NOT NULL THEN
            UPDATE pipelines SET rating_tally[NEW.standing * 5 + NEW.stars] =
                rating_tally[NEW.standing * 5 + NEW.stars] + 1 WHERE id = NEW.pipeline_id;
        END IF;
        RETURN NULL;
    END $$""",
    # `domain/scores.py` writes this number now.
    "DROP TRIGGER IF EXISTS pipelines_grown_by ON pipelines",
    "DROP FUNCTION IF EXISTS count_grown",
    # Search orders by what offshoots weigh too.
    """CREATE OR REPLACE FUNCTION search_scores_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        mean double precision := NEW.rating_sum::float8 / nullif(NEW.rating_count, 0);
    BEGIN
        UPDATE search_documents SET score = NEW.rating_score, offshoots = NEW.offshoot_weight, rating = mean,
            marks = array(SELECT mark FROM unnest(marks) mark WHERE mark NOT LIKE 'rating:%') || search_rating_mark(mean)
        WHERE pipeline_id = NEW.id;
        RETURN NULL;
    END $$""",
    """CREATE OR REPLACE TRIGGER pipelines_scored
        AFTER UPDATE OF rating_score, rating_sum, rating_count, offshoot_weight ON pipelines
        FOR EACH ROW WHEN ((OLD.rating_score, OLD.rating_sum, OLD.rating_count, OLD.offshoot_weight)
            IS DISTINCT FROM (NEW.rating_score, NEW.rating_sum, NEW.rating_count, NEW.offshoot_weight))
        EXECUTE FUNCTION search_scores_changed()""",
    """UPDATE search_documents d SET offshoots = p.offshoot_weight FROM pipelines p
        WHERE p.id = d.pipeline_id AND d.offshoots <> p.offshoot_weight""",
)

FEEDS = (
    # before a collection that everybody may read closed its private feed
    """DELETE FROM feed_keys k USING collections c WHERE c.id = k.collection_id AND c.visibility = 'public'""",
    """ALTER TABLE feed_keys DROP CONSTRAINT IF EXISTS feed_keys_list_check, ADD CONSTRAINT feed_keys_list_check
        CHECK (list IN ('following', 'bookmarks', 'notifications', 'collection', 'runs', 'grids'))""",
)

INDEXES = (
    f"pipelines_most_offshoots ON pipelines (offshoot_weight DESC, id DESC) WHERE {LISTED}",
    f"pipelines_most_grown ON pipelines (grown_weight DESC, id DESC) WHERE {LISTED} AND parent_id IS NULL",
    f"pipelines_grower ON pipelines (parent_id, owner_id) WHERE {LISTED} AND parent_id IS NOT NULL",
    f"pipelines_line_grower ON pipelines (root_id, owner_id) WHERE {LISTED} AND root_id IS NOT NULL",
    "pipelines_recount ON pipelines (id) WHERE recount_due",
    "runs_news ON runs (pipeline_id, published_at DESC, id DESC) WHERE visibility = 'published' AND NOT apart",
    "runs_news_by ON runs (owner_id, published_at DESC, id DESC) WHERE visibility = 'published' AND NOT apart",
    "grids_news_by ON grids (owner_id, published_at DESC, id DESC) WHERE published_at IS NOT NULL",
)
REPLACED = ("pipelines_offshoots", "pipelines_grown", "runs_published_by")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = '1h'")
        op.execute("SET lock_timeout = '10min'")  # building an index waits for older transactions, and locks nobody out
        for statement in (*TABLES, GROWERS, TALLIES, RECOUNTED, *TRIGGERS, *FEEDS):
            op.execute(statement)
        for index in INDEXES:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.partition(' ')[0]}")  # one that was cut off
            op.execute(f"CREATE INDEX CONCURRENTLY {index}")
        for index in REPLACED:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}")
        op.execute("SET lock_timeout = '4s'")
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    raise NotImplementedError("Going back below this schema means restoring a backup")
