"""One thing in several forms: a 3D object as GLB, PLY and STL.

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE forms (
            source text NOT NULL REFERENCES artifacts (sha256) ON DELETE CASCADE,
            form text NOT NULL,
            sha256 text NOT NULL REFERENCES artifacts (sha256),
            PRIMARY KEY (source, form)
        );
        CREATE INDEX forms_sha256 ON forms (sha256);
        """)


def downgrade() -> None:
    op.execute("DROP TABLE forms")
