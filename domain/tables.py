"""The tables as Piccolo knows them: definitions only.

Alembic owns the DDL (`alembic/versions`) and PostgreSQL the defaults, so rows are inserted by
SQL that names only what it sets. A drift test holds this file and the migrated schema equal.
"""

from typing import Any

from piccolo.columns import (
    JSONB,
    UUID,
    Array,
    BigInt,
    Boolean,
    Bytea,
    DoublePrecision,
    ForeignKey,
    Integer,
    Text,
    Timestamptz,
)
from piccolo.columns.base import Column
from piccolo.table import Table


class TSVector(Column):
    """Stems with their places, for full-text search."""

    value_type = str

    @property
    def column_type(self) -> str:
        """The SQL type."""
        return "TSVECTOR"


class Vector(Column):
    """A sentence's direction, for pgvector."""

    value_type = list

    @property
    def column_type(self) -> str:
        return "VECTOR(384)"


class Bits(Column):
    """A perceptual hash."""

    value_type = str

    @property
    def column_type(self) -> str:
        return "BIT(64)"


class Person(Table, tablename="people"):
    id = UUID(primary_key=True, null=False, default=None)
    email = Text(null=False, default=None)
    handle = Text(null=False, default=None)
    name = Text(null=False, default=None)
    about = Text(null=False, default=None)
    password_hash = Text(null=False, default=None)
    role = Text(null=False, default=None)
    created_at = Timestamptz(null=False, default=None)


class Session(Table, tablename="sessions"):
    token_hash = Bytea(primary_key=True, null=False, default=None)
    person_id = ForeignKey(Person, null=False, default=None)
    created_at = Timestamptz(null=False, default=None)
    seen_at = Timestamptz(null=False, default=None)
    expires_at = Timestamptz(null=False, default=None)


class Model(Table, tablename="models"):
    id = UUID(primary_key=True, null=False, default=None)
    name = Text(null=False, unique=True, default=None)
    family = Text(null=False, default=None)
    path = Text(null=False, default=None)
    revision = Text(null=False, default=None)
    license = Text(null=False, default=None)
    kinds = Array(base_column=Text(), null=False, default=None)
    defaults = JSONB(null=False, default=None)
    means = JSONB(null=False, default=None)
    bytes = BigInt(null=False, default=None)
    created_at = Timestamptz(null=False, default=None)
    removed_at = Timestamptz(null=True, default=None)
    words = JSONB(null=False, default=None)
    files = JSONB(null=False, default=None)
    told = JSONB(null=False, default=None)
    limits = JSONB(null=False, default=None)


class ModelReading(Table, tablename="model_readings"):
    name = Text(primary_key=True, null=False, default=None)
    adds = Boolean(null=False, default=None)
    host = Text(null=False, default=None)
    done = BigInt(null=False, default=None)
    total = BigInt(null=False, default=None)
    began_at = Timestamptz(null=False, default=None)
    seen_at = Timestamptz(null=False, default=None)
    ended_at = Timestamptz(null=True, default=None)
    fault = Text(null=False, default=None)


class Artifact(Table, tablename="artifacts"):
    sha256 = Text(primary_key=True, null=False, default=None)
    media_type = Text(null=False, default=None)
    bytes = BigInt(null=False, default=None)
    width = Integer(null=True, default=None)
    height = Integer(null=True, default=None)
    duration = DoublePrecision(null=True, default=None)
    state = Text(null=False, default=None)
    touched_at = Timestamptz(null=False, default=None)
    peaks = Text(null=True, default=None)


class Rendition(Table, tablename="renditions"):
    source = ForeignKey(Artifact, null=False, default=None)
    width = Integer(null=False, default=None)
    sha256 = ForeignKey(Artifact, null=False, default=None)


class Form(Table, tablename="forms"):
    source = ForeignKey(Artifact, null=False, default=None)
    form = Text(null=False, default=None)
    sha256 = ForeignKey(Artifact, null=False, default=None)


class Upload(Table, tablename="uploads"):
    id = UUID(primary_key=True, null=False, default=None)
    person_id = ForeignKey(Person, null=False, default=None)
    sha256 = ForeignKey(Artifact, null=False, default=None)
    filename = Text(null=False, default=None)
    created_at = Timestamptz(null=False, default=None)


class Consent(Table, tablename="consents"):
    id = UUID(primary_key=True, null=False, default=None)
    person_id = ForeignKey(Person, null=False, default=None)
    sha256 = Text(null=False, default=None)
    words = Text(null=False, default=None)
    given_at = Timestamptz(null=False, default=None)
    withdrawn_at = Timestamptz(null=True, default=None)


class Pipeline(Table, tablename="pipelines"):
    id = UUID(primary_key=True, null=False, default=None)
    owner_id = ForeignKey(Person, null=False, default=None)
    title = Text(null=False, default=None)
    description = Text(null=False, default=None)
    tags = Array(base_column=Text(), null=False, default=None)
    license = Text(null=False, default=None)
    visibility = Text(null=False, default=None)
    parent_id: ForeignKey[Any] = ForeignKey("self", null=True, default=None)
    root_id: ForeignKey[Any] = ForeignKey("self", null=True, default=None)
    generation = Integer(null=False, default=None)
    latest_version = Integer(null=False, default=None)
    run_count = Integer(null=False, default=None)
    offshoot_count = Integer(null=False, default=None)
    rating_count = Integer(null=False, default=None)
    rating_sum = Integer(null=False, default=None)
    rating_score = DoublePrecision(null=False, default=None)
    trend = DoublePrecision(null=False, default=None)
    prompt = Text(null=False, default=None)
    model = Text(null=False, default=None)
    medium = Text(null=False, default=None)
    cover_run_id = UUID(null=True, default=None)
    cover_sha256 = ForeignKey(Artifact, null=True, default=None)
    cover_width = Integer(null=True, default=None)
    cover_height = Integer(null=True, default=None)
    cover_text = Text(null=False, default=None)
    created_at = Timestamptz(null=False, default=None)
    updated_at = Timestamptz(null=False, default=None)
    published_at = Timestamptz(null=True, default=None)
    deleted_at = Timestamptz(null=True, default=None)
    rating_tally = Array(base_column=Integer(), null=False, default=None)
    grown_count = Integer(null=False, default=None)
    offshoot_tally = Array(base_column=Integer(), null=False, default=None)
    grown_tally = Array(base_column=Integer(), null=False, default=None)
    offshoot_weight = Integer(null=False, default=None)
    grown_weight = Integer(null=False, default=None)
    recount_due = Boolean(null=False, default=None)
    request_sha256 = Text(null=True, default=None)


class Version(Table, tablename="versions"):
    id = UUID(primary_key=True, null=False, default=None)
    pipeline_id = ForeignKey(Pipeline, null=False, default=None)
    number = Integer(null=False, default=None)
    parent_id: ForeignKey[Any] = ForeignKey("self", null=True, default=None)
    digest = Text(null=False, default=None)
    recipe = JSONB(null=False, default=None)
    note = Text(null=False, default=None)
    created_at = Timestamptz(null=False, default=None)


class Draft(Table, tablename="drafts"):
    id = UUID(primary_key=True, null=False, default=None)
    person_id = ForeignKey(Person, null=False, default=None)
    pipeline_id = ForeignKey(Pipeline, null=True, default=None)
    form = JSONB(null=False, default=None)
    saved_at = Timestamptz(null=False, default=None)


class Run(Table, tablename="runs"):
    id = UUID(primary_key=True, null=False, default=None)
    pipeline_id = ForeignKey(Pipeline, null=False, default=None)
    version_id = ForeignKey(Version, null=False, default=None)
    owner_id = ForeignKey(Person, null=False, default=None)
    number = Integer(null=False, default=None)
    idempotency_key = Text(null=False, default=None)
    request_sha256 = Text(null=False, default=None)
    inputs = JSONB(null=False, default=None)
    seed = BigInt(null=False, default=None)
    afresh = Boolean(null=False, default=None)
    turn = BigInt(null=False, default=None)  # not read since 0012; a later release drops it
    state = Text(null=False, default=None)
    visibility = Text(null=False, default=None)
    cancel_requested_at = Timestamptz(null=True, default=None)
    created_at = Timestamptz(null=False, default=None)
    started_at = Timestamptz(null=True, default=None)
    finished_at = Timestamptz(null=True, default=None)
    published_at = Timestamptz(null=True, default=None)
    changes = JSONB(null=False, default=None)
    apart = Boolean(null=False, default=None)


class StepRun(Table, tablename="step_runs"):
    id = UUID(primary_key=True, null=False, default=None)
    run_id = ForeignKey(Run, null=False, default=None)
    ordinal = Integer(null=False, default=None)
    kind = Text(null=False, default=None)
    queue = Text(null=False, default=None)
    model = Text(null=False, default=None)
    step = JSONB(null=False, default=None)
    resolved = JSONB(null=True, default=None)
    batch_key = Text(null=False, default=None)
    input_hash = Text(null=True, default=None)
    state = Text(null=False, default=None)
    priority = Integer(null=False, default=None)
    turn = BigInt(null=False, default=None)
    attempt = Integer(null=False, default=None)
    crash_count = Integer(null=False, default=None)
    retry_count = Integer(null=False, default=None)
    lease_owner = Text(null=True, default=None)
    lease_until = Timestamptz(null=True, default=None)
    not_before = Timestamptz(null=False, default=None)
    nudge_at = Timestamptz(null=False, default=None)
    progress = Integer(null=False, default=None)
    progress_total = Integer(null=False, default=None)
    phase = Text(null=False, default=None)
    progress_at = Timestamptz(null=True, default=None)
    error_code = Text(null=True, default=None)
    error_message = Text(null=True, default=None)
    output_text = Text(null=True, default=None)
    reused_from: ForeignKey[Any] = ForeignKey("self", null=True, default=None)
    receipt = JSONB(null=True, default=None)
    timings = JSONB(null=True, default=None)
    queued_at = Timestamptz(null=True, default=None)
    started_at = Timestamptz(null=True, default=None)
    finished_at = Timestamptz(null=True, default=None)
    needs = Array(base_column=Text(), null=False, default=None)


class Output(Table, tablename="outputs"):
    step_run_id = ForeignKey(StepRun, null=False, default=None)
    position = Integer(null=False, default=None)
    sha256 = ForeignKey(Artifact, null=False, default=None)
    seed = BigInt(null=True, default=None)


class Preview(Table, tablename="previews"):
    step_run_id = UUID(primary_key=True, null=False, default=None)
    done = Integer(null=False, default=None)
    media_type = Text(null=False, default=None)
    data = Bytea(null=False, default=None)


class Event(Table, tablename="events"):
    id = BigInt(primary_key=True, null=False, default=None)
    run_id = ForeignKey(Run, null=False, default=None)
    ordinal = Integer(null=True, default=None)
    name = Text(null=False, default=None)
    data = JSONB(null=False, default=None)
    at = Timestamptz(null=False, default=None)


class Rating(Table, tablename="ratings"):
    pipeline_id = ForeignKey(Pipeline, null=False, default=None)
    person_id = ForeignKey(Person, null=False, default=None)
    stars = Integer(null=False, default=None)
    created_at = Timestamptz(null=False, default=None)
    updated_at = Timestamptz(null=False, default=None)
    owner_id = UUID(null=True, default=None)
    standing = Integer(null=True, default=None)
    weigh_at = Timestamptz(null=False, default=None)
    review = Text(null=False, default=None)
    reviewed_at = Timestamptz(null=True, default=None)


class Grower(Table, tablename="growers"):
    pipeline_id = ForeignKey(Pipeline, null=False, default=None)
    person_id = ForeignKey(Person, null=False, default=None)
    line = Boolean(null=False, default=None)
    owner_id = UUID(null=True, default=None)
    standing = Integer(null=False, default=None)
    weigh_at = Timestamptz(null=False, default=None)


class SearchDocument(Table, tablename="search_documents"):
    pipeline_id = ForeignKey(Pipeline, primary_key=True, null=False, default=None)
    number = BigInt(null=False, unique=True, default=None)
    published_at = Timestamptz(null=False, default=None)
    score = DoublePrecision(null=False, default=None)
    rating = DoublePrecision(null=True, default=None)
    offshoots = Integer(null=False, default=None)
    facets = Array(base_column=Text(), null=False, default=None)
    marks = Array(base_column=Text(), null=False, default=None)
    document = TSVector(null=False, default=None)


class SearchText(Table, tablename="search_texts"):
    pipeline_id = ForeignKey(Pipeline, primary_key=True, null=False, default=None)
    title = Text(null=False, default=None)
    folded = Text(null=False, default=None)
    words = Array(base_column=Text(), null=False, default=None)


class SearchWord(Table, tablename="search_words"):
    kind = Text(null=False, default=None)
    word = Text(null=False, default=None)
    documents = Integer(null=False, default=None)


class SearchChange(Table, tablename="search_changes"):
    id = BigInt(primary_key=True, null=False, default=None)
    gone = Array(base_column=Text(), null=False, default=None)
    come = Array(base_column=Text(), null=False, default=None)


class SearchStale(Table, tablename="search_stale"):
    pipeline_id = ForeignKey(Pipeline, primary_key=True, null=False, default=None)


class Embedding(Table, tablename="embeddings"):
    pipeline_id = ForeignKey(Pipeline, primary_key=True, null=False, default=None)
    digest = Text(null=False, default=None)
    encoder = Text(null=False, default=None)
    vector = Vector(null=True, default=None)


class Likeness(Table, tablename="likenesses"):
    sha256 = ForeignKey(Artifact, primary_key=True, null=False, default=None)
    due = Boolean(null=False, default=None)
    phash = Bits(null=True, default=None)
    tint = Integer(null=True, default=None)


class Collection(Table, tablename="collections"):
    id = UUID(primary_key=True, null=False, default=None)
    owner_id = ForeignKey(Person, null=False, default=None)
    title = Text(null=False, default=None)
    about = Text(null=False, default=None)
    visibility = Text(null=False, default=None)
    created_at = Timestamptz(null=False, default=None)
    updated_at = Timestamptz(null=False, default=None)


class CollectionItem(Table, tablename="collection_items"):
    id = UUID(primary_key=True, null=False, default=None)
    collection_id = ForeignKey(Collection, null=False, default=None)
    position = Integer(null=False, default=None)
    pipeline_id = ForeignKey(Pipeline, null=False, default=None)
    run_id = ForeignKey(Run, null=True, default=None)
    note = Text(null=False, default=None)
    added_at = Timestamptz(null=False, default=None)


class Bookmark(Table, tablename="bookmarks"):
    person_id = ForeignKey(Person, null=False, default=None)
    pipeline_id = ForeignKey(Pipeline, null=False, default=None)
    created_at = Timestamptz(null=False, default=None)


class Follow(Table, tablename="follows"):
    id = UUID(primary_key=True, null=False, default=None)
    follower_id = ForeignKey(Person, null=False, default=None)
    person_id = ForeignKey(Person, null=True, default=None)
    tag = Text(null=True, default=None)
    pipeline_id = ForeignKey(Pipeline, null=True, default=None)
    created_at = Timestamptz(null=False, default=None)


class FeedKey(Table, tablename="feed_keys"):
    id = UUID(primary_key=True, null=False, default=None)
    person_id = ForeignKey(Person, null=False, default=None)
    list = Text(null=False, default=None)
    collection_id = ForeignKey(Collection, null=True, default=None)
    created_at = Timestamptz(null=False, default=None)


class Comment(Table, tablename="comments"):
    id = UUID(primary_key=True, null=False, default=None)
    pipeline_id = ForeignKey(Pipeline, null=True, default=None)
    run_id = ForeignKey(Run, null=True, default=None)
    author_id = ForeignKey(Person, null=True, default=None)
    parent_id: ForeignKey[Any] = ForeignKey("self", null=True, default=None)
    thread_id = UUID(null=False, default=None)
    body = Text(null=False, default=None)
    mentioned = Array(base_column=UUID(), null=False, default=None)
    once = Text(null=True, default=None)
    created_at = Timestamptz(null=False, default=None)
    edited_at = Timestamptz(null=True, default=None)
    deleted_at = Timestamptz(null=True, default=None)
    deleted_by = Text(null=True, default=None)


class Notification(Table, tablename="notifications"):
    id = UUID(primary_key=True, null=False, default=None)
    person_id = ForeignKey(Person, null=False, default=None)
    kind = Text(null=False, default=None)
    actor_id = ForeignKey(Person, null=False, default=None)
    comment_id = ForeignKey(Comment, null=True, default=None)
    pipeline_id = ForeignKey(Pipeline, null=True, default=None)
    created_at = Timestamptz(null=False, default=None)
    read_at = Timestamptz(null=True, default=None)


class Grid(Table, tablename="grids"):
    id = UUID(primary_key=True, null=False, default=None)
    pipeline_id = ForeignKey(Pipeline, null=False, default=None)
    version_id = ForeignKey(Version, null=False, default=None)
    owner_id = ForeignKey(Person, null=False, default=None)
    idempotency_key = Text(null=False, default=None)
    request_sha256 = Text(null=False, default=None)
    axes = JSONB(null=False, default=None)
    inputs = JSONB(null=False, default=None)
    seed = BigInt(null=False, default=None)
    created_at = Timestamptz(null=False, default=None)
    published_at = Timestamptz(null=True, default=None)


class GridCell(Table, tablename="grid_cells"):
    grid_id = ForeignKey(Grid, null=False, default=None)
    cell = Integer(null=False, default=None)
    run_id = ForeignKey(Run, null=False, unique=True, default=None)


class Worker(Table, tablename="workers"):
    owner = Text(primary_key=True, null=False, default=None)
    queues = Array(Text(), null=False, default=None)
    device = Text(null=False, default=None)
    seen_at = Timestamptz(null=False, default=None)
    models = Array(base_column=Text(), null=True, default=None)
    kinds = Array(base_column=Text(), null=True, default=None)


TABLES: tuple[type[Table], ...] = (
    Person,
    Session,
    Model,
    ModelReading,
    Artifact,
    Rendition,
    Form,
    Upload,
    Consent,
    Pipeline,
    Version,
    Draft,
    Run,
    StepRun,
    Output,
    Preview,
    Event,
    Rating,
    Grower,
    SearchDocument,
    SearchText,
    SearchWord,
    SearchChange,
    SearchStale,
    Embedding,
    Likeness,
    Collection,
    CollectionItem,
    Bookmark,
    Follow,
    FeedKey,
    Comment,
    Notification,
    Grid,
    GridCell,
    Worker,
)
