"""Who agreed that a sample of a voice may speak, when, and in which words.

Revision ID: 0020
Revises: 0019
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # no foreign key to artifacts: what somebody agreed to is remembered when the file is gone
    op.execute("""
        CREATE TABLE consents (
            id uuid PRIMARY KEY DEFAULT uuidv7(),
            person_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
            sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
            words text NOT NULL,
            given_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (person_id, sha256, words)
        );
        """)


def downgrade() -> None:
    op.execute("DROP TABLE consents")
