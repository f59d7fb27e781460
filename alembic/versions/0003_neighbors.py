"""What finds similar prompts and pictures: sentence vectors and perceptual hashes, filled by the workers.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE embeddings (
    pipeline_id uuid PRIMARY KEY REFERENCES pipelines (id) ON DELETE CASCADE,
    digest text NOT NULL,
    encoder text NOT NULL DEFAULT '',
    vector vector(384)
);
CREATE INDEX embeddings_encoder ON embeddings (encoder);
CREATE INDEX embeddings_near ON embeddings USING hnsw (vector vector_cosine_ops) WITH (ef_construction = 100);

CREATE TABLE likenesses (
    sha256 text PRIMARY KEY REFERENCES artifacts (sha256) ON DELETE CASCADE,
    due boolean NOT NULL DEFAULT true,
    phash bit(64),
    tint integer
);
CREATE INDEX likenesses_due ON likenesses (sha256) WHERE due;
CREATE INDEX likenesses_near ON likenesses USING hnsw (phash bit_hamming_ops) WITH (ef_construction = 100);
"""


def upgrade() -> None:
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE likenesses")
    op.execute("DROP TABLE embeddings")
