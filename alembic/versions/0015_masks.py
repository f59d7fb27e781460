"""Which files a version and a draft name: masks too.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        DROP INDEX versions_uploads;
        CREATE INDEX versions_files ON versions USING gin (
            jsonb_path_query_array(recipe, '$.steps[*].keyvalue()?(@.key == "upload" || @.key == "mask").value')
        );
        DROP INDEX drafts_uploads;
        CREATE INDEX drafts_files ON drafts USING gin (
            jsonb_path_query_array(form, '$.keyvalue()?(@.key like_regex "-(upload|mask)$").value')
        );
        """)


def downgrade() -> None:
    op.execute("""
        DROP INDEX versions_files;
        CREATE INDEX versions_uploads ON versions USING gin (jsonb_path_query_array(recipe, '$.steps[*].upload'));
        DROP INDEX drafts_files;
        CREATE INDEX drafts_uploads ON drafts
            USING gin (jsonb_path_query_array(form, '$.keyvalue()?(@.key like_regex "-upload$").value'));
        """)
