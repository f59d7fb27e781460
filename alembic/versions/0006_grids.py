"""Grids: a table of runs that differ in one or two parameters, and what such a run changes of its version.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# columns with a constant default and new, empty tables: nothing here reads or rewrites a row that exists
TABLES = """
CREATE TABLE grids (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    pipeline_id uuid NOT NULL REFERENCES pipelines (id),
    version_id uuid NOT NULL REFERENCES versions (id),
    owner_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    idempotency_key text NOT NULL,
    request_sha256 text NOT NULL,
    axes jsonb NOT NULL,
    inputs jsonb NOT NULL DEFAULT '{}',
    seed bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    UNIQUE (owner_id, idempotency_key)
);
CREATE INDEX grids_owner ON grids (owner_id, id DESC);
CREATE INDEX grids_version ON grids (version_id);
CREATE INDEX grids_pipeline ON grids (pipeline_id, id DESC);
CREATE INDEX grids_published ON grids (pipeline_id, published_at DESC, id DESC) WHERE published_at IS NOT NULL;

CREATE TABLE grid_cells (
    grid_id uuid NOT NULL REFERENCES grids (id) ON DELETE CASCADE,
    cell integer NOT NULL CHECK (cell >= 0),
    run_id uuid NOT NULL UNIQUE REFERENCES runs (id) ON DELETE CASCADE,
    PRIMARY KEY (grid_id, cell)
);

ALTER TABLE runs ADD COLUMN changes jsonb NOT NULL DEFAULT '{}', ADD COLUMN apart boolean NOT NULL DEFAULT false;
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("ALTER TABLE runs DROP COLUMN changes, DROP COLUMN apart")
    op.execute("DROP TABLE grid_cells")
    op.execute("DROP TABLE grids")
