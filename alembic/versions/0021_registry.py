"""What each worker has, what a step needs of it, and what a host says of a model.

Revision ID: 0021
Revises: 0020
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE workers ADD COLUMN models text[];
        ALTER TABLE step_runs ADD COLUMN needs text[] NOT NULL DEFAULT '{}';
        ALTER TABLE models ADD COLUMN files jsonb NOT NULL DEFAULT '[]', ADD COLUMN told jsonb NOT NULL DEFAULT '{}';
        CREATE TABLE model_readings (
            name text PRIMARY KEY,
            adds boolean NOT NULL,
            host text NOT NULL,
            done bigint NOT NULL DEFAULT 0,
            total bigint NOT NULL,
            began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            ended_at timestamptz,
            fault text NOT NULL DEFAULT ''
        );
        """)


def downgrade() -> None:
    op.execute("""
        DROP TABLE model_readings;
        ALTER TABLE models DROP COLUMN files, DROP COLUMN told;
        ALTER TABLE step_runs DROP COLUMN needs;
        ALTER TABLE workers DROP COLUMN models;
        """)
