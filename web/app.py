"""The site: every route on one screen."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.di import Provide
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import LifeSpanReceive, LifeSpanSend, Message, Receive, Scope, Send

from domain import db
from domain.config import Config
from domain.storage import Storage
from web import (
    accounts,
    artifacts,
    assets,
    auth,
    bookmarks,
    collections,
    comment_feeds,
    comments,
    comparisons,
    conditional,
    consents,
    drafts,
    errors,
    feeds,
    following,
    follows,
    forks,
    gallery,
    grids,
    health,
    model_admin,
    models,
    notifications,
    pipelines,
    private_feeds,
    profile_feeds,
    profiles,
    ratings,
    reviews,
    run_comparisons,
    runs,
    search,
    sessions,
    settings,
    similar,
    tags,
    uploads,
    versions,
)
from web.forms import MAX_BODY
from web.headers import securing
from web.readings import Readings
from web.render import environment
from web.unchanged import Unchanged

ROUTES: list[Any] = [
    # browse
    gallery.show,
    tags.show,
    similar.show,
    models.index,
    models.show,
    models.as_json,
    ratings.save,
    search.show,
    search.suggest,
    # talk
    comments.of_pipeline,
    comments.write_on_pipeline,
    comments.of_run,
    comments.write_on_run,
    comments.show,
    comments.new_reply,
    comments.reply,
    comments.edit,
    comments.save,
    comments.confirm_deletion,
    comments.delete,
    notifications.index,
    notifications.read_all,
    notifications.read,
    reviews.index,
    reviews.save,
    reviews.explain,
    # follow
    feeds.of_gallery,
    feeds.of_tag,
    feeds.of_results,
    feeds.of_lineage,
    feeds.of_search,
    feeds.of_similar,
    feeds.of_collection,
    feeds.of_key,
    profile_feeds.of_pipelines,
    profile_feeds.of_runs,
    profile_feeds.of_offshoots,
    profile_feeds.of_collections,
    private_feeds.create,
    private_feeds.withdraw,
    following.show,
    follows.index,
    follows.person,
    follows.tag,
    follows.pipeline,
    consents.index,
    consents.withdraw,
    # collect
    bookmarks.save,
    collections.new,
    collections.create,
    collections.show,
    collections.edit,
    collections.save,
    collections.confirm_deletion,
    collections.delete,
    collections.move,
    collections.remove,
    collections.edit_note,
    collections.save_note,
    collections.choose,
    collections.add,
    collections.choose_for_run,
    collections.add_run,
    comment_feeds.of_pipeline,
    comment_feeds.of_run,
    feeds.of_grids,
    feeds.of_grid,
    feeds.of_reviews,
    # compose
    pipelines.show,
    pipelines.family,
    pipelines.new,
    pipelines.edit,
    pipelines.create,
    pipelines.confirm_deletion,
    pipelines.delete,
    versions.show,
    versions.recipe,
    versions.create,
    drafts.save_new,
    drafts.save,
    forks.create,
    uploads.create,
    # compare
    comparisons.show,
    comparisons.table,
    comparisons.run,
    run_comparisons.show,
    # run
    runs.new,
    runs.create,
    runs.index,
    runs.show,
    runs.progress,
    runs.preview,
    runs.text,
    runs.text_receipt,
    runs.stop,
    runs.cancel,
    runs.choose,
    runs.publish,
    runs.retry,
    # vary
    grids.new,
    grids.create,
    grids.index,
    grids.of_pipeline,
    grids.show,
    grids.progress,
    grids.confirm_stop,
    grids.stop,
    grids.publish,
    grids.retry,
    grids.sheet,
    artifacts.show,
    artifacts.show_rendition,
    artifacts.show_signed,
    artifacts.show_signed_rendition,
    # people
    accounts.new,
    accounts.create,
    sessions.new,
    sessions.create,
    sessions.delete,
    profiles.show,
    settings.profile,
    settings.save_profile,
    settings.theme,
    # look after the site
    model_admin.index,
    model_admin.new,
    model_admin.add,
    model_admin.edit,
    model_admin.save,
    model_admin.verify,
    model_admin.confirm_removal,
    model_admin.remove,
    # the site itself
    assets.show,
    assets.favicon,
    health.show,
]


class Site(Litestar):
    """Litestar that knows the person before it routes, answers HEAD as GET without the body, and a crowd at once."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        """No route uses pydantic or attrs, and importing them takes a fifth of a second of every start."""
        return [*plugins, MsgspecDIPlugin()]

    async def __call__(self, scope: Any, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend) -> None:
        """The ASGI entry."""
        if scope["type"] == "http":
            scope["litestar_app"] = self
            scope.setdefault("state", {})
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET"}
                scope["state"]["head"] = True
                send = _headless(send)  # type: ignore[arg-type]
            request: Request[Any, Any, Any] = Request(scope)
            if scope["method"] == "GET" and (head := self.state.unchanged.answer(request)) is not None:
                await self._answer(conditional.Kept(head, b""), scope, send)
                return
            await auth.identify(scope)
            if scope["method"] == "GET" and (kept := conditional.kept(request)) is not None:
                await self._answer(kept, scope, send)
                return
        await super().__call__(scope, receive, send)

    async def _answer(self, kept: conditional.Kept, scope: Scope, send: Any) -> None:
        """Send a kept page, past the routes but with the headers that every answer has."""
        for hook in self.before_send:
            await hook(kept.head, scope)
        await send(kept.head)
        await send({"type": "http.response.body", "body": kept.body, "more_body": False})


def _headless(send: Send) -> Send:
    async def without_body(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return without_body


def create_app(config: Config) -> Litestar:
    """The ASGI application. Connects at startup, not here."""
    logging.getLogger("web").setLevel(config.log_level.upper())
    files = assets.Assets(reload=config.log_level == "debug")
    return Site(
        route_handlers=ROUTES,
        lifespan=[_connected],
        state=State(
            {
                "config": config,
                "assets": files,
                "templates": environment(config, files),
                "unchanged": Unchanged(),
            }
        ),
        middleware=[auth.Guard],
        before_send=[securing(config)],
        exception_handlers={Exception: errors.handle},
        dependencies={"viewer": Provide(auth.provide_viewer), "me": Provide(auth.provide_me)},
        request_max_body_size=MAX_BODY,
        openapi_config=None,
        logging_config=None,
    )


@asynccontextmanager
async def _connected(app: Litestar) -> AsyncIterator[None]:
    """Hold the database pool and the object store while the site runs."""
    config: Config = app.state.config
    await db.bind(config.database_url)
    app.state.storage = Storage(config.s3_url, config.data_dir / "s3")
    app.state.readings = Readings()
    listening = asyncio.create_task(app.state.unchanged.listen(config.database_url))
    try:
        yield
    finally:
        listening.cancel()
        await app.state.readings.close()
        await db.unbind()
