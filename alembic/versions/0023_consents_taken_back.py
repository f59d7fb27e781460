"""A consent can be taken back. What was said and when stays on record, and it can be said again.

Revision ID: 0023
Revises: 0022
"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE consents ADD COLUMN withdrawn_at timestamptz,
            DROP CONSTRAINT consents_person_id_sha256_words_key;
        CREATE UNIQUE INDEX consents_standing ON consents (person_id, sha256, words) WHERE withdrawn_at IS NULL;
        CREATE INDEX consents_newest ON consents (person_id, id DESC);
        """)


def downgrade() -> None:
    op.execute("""
        DELETE FROM consents WHERE withdrawn_at IS NOT NULL;
        DROP INDEX consents_newest;
        DROP INDEX consents_standing;
        ALTER TABLE consents DROP COLUMN withdrawn_at, ADD UNIQUE (person_id, sha256, words);
        """)
