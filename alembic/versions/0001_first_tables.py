"""First tables: people, pipelines, versions, runs, steps, artifacts, ratings, models.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

EXTENSIONS = ("vector", "pg_trgm", "unaccent")

TABLES = """
CREATE TABLE people (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    email text NOT NULL,
    handle text NOT NULL,
    name text NOT NULL DEFAULT '',
    about text NOT NULL DEFAULT '',
    password_hash text NOT NULL,
    role text NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'moderator', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX people_email_key ON people (lower(email));
CREATE UNIQUE INDEX people_handle_key ON people (lower(handle));
CREATE UNIQUE INDEX people_look ON people
    (replace(replace(translate(lower(handle), '01i._-', 'oll'), 'rn', 'm'), 'vv', 'w'));

CREATE TABLE sessions (
    token_hash bytea PRIMARY KEY,
    person_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_person ON sessions (person_id);

CREATE TABLE models (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    name text NOT NULL UNIQUE,
    family text NOT NULL,
    path text NOT NULL,
    revision text NOT NULL,
    license text NOT NULL DEFAULT '',
    kinds text[] NOT NULL,
    defaults jsonb NOT NULL DEFAULT '{}',
    means jsonb NOT NULL DEFAULT '{}',
    bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz
);

CREATE TABLE artifacts (
    sha256 text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    media_type text NOT NULL,
    bytes bigint NOT NULL,
    width integer,
    height integer,
    duration double precision,
    state text NOT NULL DEFAULT 'stored' CHECK (state IN ('writing', 'stored', 'deleting')),
    touched_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX artifacts_deleting ON artifacts (touched_at) WHERE state = 'deleting';

CREATE TABLE renditions (
    source text NOT NULL REFERENCES artifacts (sha256) ON DELETE CASCADE,
    width integer NOT NULL,
    sha256 text NOT NULL REFERENCES artifacts (sha256),
    PRIMARY KEY (source, width)
);
CREATE INDEX renditions_sha256 ON renditions (sha256);

CREATE TABLE uploads (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    person_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    sha256 text NOT NULL REFERENCES artifacts (sha256),
    filename text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (person_id, sha256)
);
CREATE INDEX uploads_sha256 ON uploads (sha256);

CREATE TABLE pipelines (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    owner_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    tags text[] NOT NULL DEFAULT '{}',
    license text NOT NULL DEFAULT 'CC-BY-4.0',
    visibility text NOT NULL DEFAULT 'private' CHECK (visibility IN ('public', 'unlisted', 'private')),
    parent_id uuid REFERENCES pipelines (id),
    root_id uuid REFERENCES pipelines (id),
    generation integer NOT NULL DEFAULT 1 CHECK (generation >= 1),
    latest_version integer NOT NULL DEFAULT 0,
    run_count integer NOT NULL DEFAULT 0,
    offshoot_count integer NOT NULL DEFAULT 0,
    rating_count integer NOT NULL DEFAULT 0,
    rating_sum integer NOT NULL DEFAULT 0,
    rating_score double precision NOT NULL DEFAULT 0,
    trend double precision NOT NULL DEFAULT 0,
    prompt text NOT NULL DEFAULT '',
    model text NOT NULL DEFAULT '',
    medium text NOT NULL DEFAULT 'image' CHECK (medium IN ('text', 'image', 'animation', 'mesh', 'audio')),
    cover_run_id uuid,
    cover_sha256 text REFERENCES artifacts (sha256),
    cover_width integer,
    cover_height integer,
    cover_text text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    deleted_at timestamptz
);
CREATE INDEX pipelines_owner ON pipelines (owner_id, id DESC);
CREATE INDEX pipelines_owner_newest ON pipelines (owner_id, published_at DESC, id DESC)
    WHERE visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL;
CREATE INDEX pipelines_cover ON pipelines (cover_sha256) WHERE cover_sha256 IS NOT NULL;
CREATE INDEX pipelines_parent ON pipelines (parent_id, id);
CREATE INDEX pipelines_root ON pipelines (root_id, id);
CREATE INDEX pipelines_newest ON pipelines (published_at DESC, id DESC)
    WHERE visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL;
CREATE INDEX pipelines_trend ON pipelines (trend DESC, id DESC)
    WHERE visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL;
CREATE INDEX pipelines_best ON pipelines (rating_score DESC, id DESC)
    WHERE visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL;
CREATE INDEX pipelines_offshoots ON pipelines (offshoot_count DESC, id DESC)
    WHERE visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL;
CREATE INDEX pipelines_medium ON pipelines (medium, published_at DESC, id DESC)
    WHERE visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL;
CREATE INDEX pipelines_tags ON pipelines USING gin (tags)
    WHERE visibility = 'public' AND deleted_at IS NULL AND published_at IS NOT NULL;

CREATE TABLE versions (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    pipeline_id uuid NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    number integer NOT NULL CHECK (number >= 1),
    parent_id uuid REFERENCES versions (id),
    digest text NOT NULL,
    recipe jsonb NOT NULL,
    note text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (pipeline_id, number)
);
CREATE INDEX versions_parent ON versions (parent_id);
CREATE INDEX versions_uploads ON versions USING gin (jsonb_path_query_array(recipe, '$.steps[*].upload'));

CREATE FUNCTION refuse_update() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'rows of % never change', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$;
CREATE TRIGGER versions_never_change BEFORE UPDATE ON versions FOR EACH ROW EXECUTE FUNCTION refuse_update();

CREATE TABLE drafts (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    person_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    pipeline_id uuid REFERENCES pipelines (id) ON DELETE CASCADE,
    form jsonb NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (person_id, pipeline_id)
);
CREATE INDEX drafts_uploads ON drafts
    USING gin (jsonb_path_query_array(form, '$.keyvalue()?(@.key like_regex "-upload$").value'));

CREATE TABLE runs (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    pipeline_id uuid NOT NULL REFERENCES pipelines (id),
    version_id uuid NOT NULL REFERENCES versions (id),
    owner_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    number integer NOT NULL,
    idempotency_key text NOT NULL,
    request_sha256 text NOT NULL,
    inputs jsonb NOT NULL DEFAULT '{}',
    seed bigint NOT NULL,
    afresh boolean NOT NULL DEFAULT false,
    turn bigint NOT NULL DEFAULT 0,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    visibility text NOT NULL DEFAULT 'private' CHECK (visibility IN ('private', 'published')),
    cancel_requested_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    published_at timestamptz,
    UNIQUE (owner_id, idempotency_key),
    UNIQUE (pipeline_id, number),
    CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CHECK (visibility = 'private' OR state = 'succeeded')
);
CREATE INDEX runs_owner ON runs (owner_id, id DESC);
CREATE INDEX runs_version ON runs (version_id);
CREATE INDEX runs_alive ON runs (owner_id, turn) WHERE finished_at IS NULL;
CREATE INDEX runs_turn ON runs (state, turn) WHERE finished_at IS NULL;
CREATE INDEX runs_published ON runs (pipeline_id, published_at DESC, id DESC) WHERE visibility = 'published';
CREATE INDEX runs_published_owner ON runs (pipeline_id, owner_id, published_at DESC, id DESC)
    WHERE visibility = 'published';

CREATE TABLE step_runs (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    run_id uuid NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    ordinal integer NOT NULL CHECK (ordinal >= 1),
    kind text NOT NULL,
    queue text NOT NULL,
    model text NOT NULL DEFAULT '',
    step jsonb NOT NULL,
    resolved jsonb,
    batch_key text NOT NULL DEFAULT '',
    input_hash text,
    state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'queued', 'running', 'succeeded', 'failed', 'cancelled', 'reused')),
    priority integer NOT NULL DEFAULT 0,
    turn bigint NOT NULL DEFAULT 0,
    attempt integer NOT NULL DEFAULT 0,
    crash_count integer NOT NULL DEFAULT 0,
    retry_count integer NOT NULL DEFAULT 0,
    lease_owner text,
    lease_until timestamptz,
    not_before timestamptz NOT NULL DEFAULT now(),
    nudge_at timestamptz NOT NULL DEFAULT now(),
    progress integer NOT NULL DEFAULT 0,
    progress_total integer NOT NULL DEFAULT 0,
    phase text NOT NULL DEFAULT '',
    progress_at timestamptz,
    error_code text,
    error_message text,
    output_text text,
    reused_from uuid REFERENCES step_runs (id) ON DELETE SET NULL,
    receipt jsonb,
    timings jsonb,
    queued_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    UNIQUE (run_id, ordinal),
    CHECK ((state = 'running') = (lease_until IS NOT NULL))
);
CREATE INDEX step_runs_due ON step_runs (queue, nudge_at) WHERE state = 'queued';
CREATE INDEX step_runs_turn ON step_runs (queue, priority DESC, turn, queued_at, id) WHERE state = 'queued';
CREATE INDEX step_runs_known ON step_runs (input_hash) WHERE state IN ('succeeded', 'reused');
CREATE INDEX step_runs_reused_from ON step_runs (reused_from) WHERE reused_from IS NOT NULL;
CREATE INDEX step_runs_leases ON step_runs (lease_until) WHERE state = 'running';
CREATE INDEX step_runs_recent ON step_runs (kind, model, finished_at DESC) WHERE state = 'succeeded';

CREATE TABLE outputs (
    step_run_id uuid NOT NULL REFERENCES step_runs (id) ON DELETE CASCADE,
    position integer NOT NULL,
    sha256 text NOT NULL REFERENCES artifacts (sha256),
    seed bigint,
    PRIMARY KEY (step_run_id, position)
);
CREATE INDEX outputs_sha256 ON outputs (sha256);

CREATE UNLOGGED TABLE previews (
    step_run_id uuid PRIMARY KEY,
    done integer NOT NULL,
    media_type text NOT NULL,
    data bytea NOT NULL
);

CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    ordinal integer,
    name text NOT NULL,
    data jsonb NOT NULL DEFAULT '{}',
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX events_run ON events (run_id, id);

CREATE TABLE ratings (
    pipeline_id uuid NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    person_id uuid NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    stars integer NOT NULL CHECK (stars BETWEEN 1 AND 5),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (pipeline_id, person_id)
);
CREATE INDEX ratings_person ON ratings (person_id);
"""


def upgrade() -> None:
    for extension in EXTENSIONS:
        op.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    for statement in TABLES.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("Going back below the first schema means restoring a backup")
