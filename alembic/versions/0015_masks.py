"""Which files a version and a draft name: masks too. What can redraw can repaint a part.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE models SET kinds = kinds || '{inpaint}' WHERE kinds = '{text_to_image,image_to_image}'")
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = '1h'")
        op.execute("SET lock_timeout = '10min'")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS versions_files")
        op.execute("""
            CREATE INDEX CONCURRENTLY versions_files ON versions USING gin (
                jsonb_path_query_array(recipe, '$.steps[*].keyvalue()?(@.key == "upload" || @.key == "mask").value')
            )
            """)
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS drafts_files")
        op.execute("""
            CREATE INDEX CONCURRENTLY drafts_files ON drafts USING gin (
                jsonb_path_query_array(form, '$.keyvalue()?(@.key like_regex "-(upload|mask)$").value')
            )
            """)
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS versions_uploads")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS drafts_uploads")
        op.execute("SET lock_timeout = '4s'")
        op.execute("SET statement_timeout = '60s'")


def downgrade() -> None:
    op.execute("UPDATE models SET kinds = array_remove(kinds, 'inpaint')")
    op.execute("""
        DROP INDEX versions_files;
        CREATE INDEX versions_uploads ON versions USING gin (jsonb_path_query_array(recipe, '$.steps[*].upload'));
        DROP INDEX drafts_files;
        CREATE INDEX drafts_uploads ON drafts
            USING gin (jsonb_path_query_array(form, '$.keyvalue()?(@.key like_regex "-upload$").value'));
        """)
