"""Offshoots: who may make one of what, and what it starts with."""

import asyncio
import uuid

import pytest

from domain import db, forks, pipelines, runs
from domain.errors import Invalid, NotFound, Refused
from domain.pipelines import Details
from domain.steps import ImageToImage, Input, Recipe, TextToImage
from tests.make import Version


async def test_an_offshoot_starts_private_with_the_same_recipe(make):
    eve = await make.person()
    sea = await make.pipeline(title="Sea", tags=["water"], license="CC-BY-SA-4.0", description="Not mine")
    made = await forks.fork(sea.version_id, eve.id)
    page = await pipelines.read(made.id, eve.id)
    assert (page.title, page.tags, page.license.id, page.visibility) == ("Sea", ["water"], "CC-BY-SA-4.0", "private")
    assert (page.generation, page.description, made.number) == (2, "", 1)
    assert page.parent is not None
    assert page.parent.version_id == sea.version_id
    assert page.changes is not None
    assert page.changes.nothing


async def test_generations_and_the_root_are_kept(make):
    eve = await make.person()
    first = await make.pipeline()
    second = await forks.fork(first.version_id, eve.id)
    await pipelines.save(
        second.id, eve.id, Details("Two", visibility="public"), Recipe(steps=[TextToImage(prompt="b")])
    )
    third = await forks.fork(second.version_id, eve.id)
    rows = await db.fetch("SELECT generation, root_id, parent_id FROM pipelines ORDER BY generation")
    assert [tuple(row) for row in rows] == [(1, None, None), (2, first.id, first.id), (3, first.id, second.id)]
    assert third.number == 1


async def test_published_offshoots_are_counted_at_the_parent(make):
    sea, eve = await make.pipeline(), await make.person()
    count = "SELECT offshoot_count FROM pipelines WHERE id = $1"
    made = await forks.fork(sea.version_id, eve.id)
    assert await db.fetchval(count, sea.id) == 0
    recipe = Recipe(steps=[TextToImage(prompt="b")])
    saved = await pipelines.save(made.id, eve.id, Details("Mine", visibility="public"), recipe)
    assert await db.fetchval(count, sea.id) == 0  # never run
    run = await make.run(Version(saved.version_id, saved.id, saved.number), eve, state="succeeded")
    await runs.publish(run.id, eve.id)
    assert await db.fetchval(count, sea.id) == 1
    await pipelines.delete(made.id, eve.id)
    assert await db.fetchval(count, sea.id) == 0


async def test_many_fork_the_same_at_once(make):
    sea = await make.pipeline()
    people = [await make.person() for _ in range(6)]
    made = await asyncio.gather(*(forks.fork(sea.version_id, person.id) for person in people))
    assert len({ref.id for ref in made}) == 6


@pytest.mark.parametrize("license", ["CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "LicenseRef-All-Rights-Reserved", "Gone-1.0"])
async def test_a_license_can_refuse(license, make):
    ada, eve = await make.person(), await make.person()
    sea = await make.pipeline(ada, license=license)
    with pytest.raises(Refused, match="allows no offshoots"):
        await forks.fork(sea.version_id, eve.id)


async def test_owners_may_always_branch_off_their_own(make):
    ada = await make.person()
    sea = await make.pipeline(ada, license="CC-BY-ND-4.0", visibility="private")
    assert (await forks.fork(sea.version_id, ada.id)).number == 1


async def test_what_one_may_not_see_one_may_not_fork(make):
    ada, eve = await make.person(), await make.person()
    private = await make.pipeline(ada, visibility="private")
    removed = await make.pipeline(ada)
    await pipelines.delete(removed.id, ada.id)
    for version_id in (private.version_id, removed.version_id, uuid.uuid4()):
        with pytest.raises(NotFound):
            await forks.fork(version_id, eve.id)


async def test_share_alike_stays(make):
    eve = await make.person()
    sea = await make.pipeline(license="CC-BY-SA-4.0")
    made = await forks.fork(sea.version_id, eve.id)
    recipe = Recipe(steps=[TextToImage(prompt="b")])
    with pytest.raises(Invalid) as error:
        await pipelines.save(made.id, eve.id, Details("Mine", license="MIT"), recipe)
    assert "CC BY-SA 4.0" in error.value.fields["license"]
    assert (await pipelines.save(made.id, eve.id, Details("Mine", license="CC-BY-SA-4.0"), recipe)).number == 2


async def test_the_parents_picture_comes_along(make):
    ada, eve = await make.person(), await make.person()
    picture = await make.artifact()
    await db.execute("INSERT INTO uploads (person_id, sha256) VALUES ($1, $2)", ada.id, picture.sha256)
    recipe = Recipe(steps=[ImageToImage(prompt="at night", upload=picture.sha256)])
    ref = await pipelines.create(ada.id, Details("Hers", visibility="public"), recipe)
    made = await forks.fork(ref.version_id, eve.id)
    changed = Recipe(steps=[ImageToImage(prompt="at dawn", upload=picture.sha256)])
    assert (await pipelines.save(made.id, eve.id, Details("Mine"), changed)).number == 2


async def test_the_button_leads_to_the_composer(make, client, log_in):
    eve = await make.person()
    sea = await make.pipeline(title="Sea", published=True)
    await make.version(sea, steps=[TextToImage(prompt="the second")])
    browser = await log_in(client, eve)
    answer = await browser.post(f"/pipelines/{sea.id}/forks", data={"version": "1"})
    assert answer.status_code == 303
    composer = await browser.get(answer.headers["location"])
    assert "Edit your offshoot" in composer.text
    assert "a red circle" in composer.text
    assert f"/pipelines/{sea.id}/versions/1" in composer.text
    latest = await browser.post(f"/pipelines/{sea.id}/forks")
    assert "the second" in (await browser.get(latest.headers["location"])).text
    for wrong in ("0", "3", "-1", "x", "9" * 30):
        assert (await browser.post(f"/pipelines/{sea.id}/forks", data={"version": wrong})).status_code == 404


async def test_visitors_are_sent_to_log_in(make, client):
    from tests.sessions import with_csrf

    sea = await make.pipeline()
    browser = await with_csrf(client)
    answer = await browser.post(f"/pipelines/{sea.id}/forks")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


async def test_a_refusing_license_has_no_button(make, client, log_in):
    sea = await make.pipeline(license="CC-BY-ND-4.0")
    browser = await log_in(client, await make.person())
    text = (await browser.get(f"/pipelines/{sea.id}")).text
    assert "Make an offshoot" not in text
    assert "allows no offshoots" in text
    assert (await browser.post(f"/pipelines/{sea.id}/forks")).status_code == 403


async def test_an_offshoot_of_a_run_has_what_the_run_was_given(make, client, log_in):
    eve = await make.person()
    inputs = [Input(name="subject", default="boat"), Input(name="light", kind="choice", choices=["fog", "snow"])]
    sea = await make.pipeline(steps=[TextToImage(prompt="a {subject} in {light}")], inputs=inputs, title="Sea")
    given = {"subject": "owl", "light": "snow"}
    run = await make.run(
        sea, state="succeeded", published=True, seed=7, inputs=given, changes={"1": {"guidance_scale": 9.0}}
    )
    browser = await log_in(client, eve)
    page = await browser.get(f"/runs/{run.id}")
    assert f'name="run" value="{run.id}"' in page.text
    sent = {"version": "1", "run": str(run.id)}
    made = (await browser.post(f"/pipelines/{sea.id}/forks", data=sent)).headers["location"].split("/")[2]
    recipe = await db.fetchval("SELECT recipe FROM versions WHERE pipeline_id = $1", uuid.UUID(made))
    assert {entry["name"]: entry["default"] for entry in recipe["inputs"]} == given
    assert (recipe["steps"][0]["guidance_scale"], recipe["steps"][0]["seed"]) == (9.0, None)
    page = await pipelines.read(uuid.UUID(made), eve.id)
    assert page.changes is not None
    assert {one.name: one.after for one in page.changes.inputs} == {
        "subject": "owl",
        "light": "snow",
    }


@pytest.mark.parametrize(("license", "allowed"), [("CC-BY-4.0", True), ("CC-BY-ND-4.0", False)])
async def test_a_runs_page_offers_what_the_license_allows(make, client, clients, log_in, license, allowed):
    ada = await make.person()
    sea = await make.pipeline(ada, license=license, published=True)
    hers = await log_in(clients(), ada)
    others = [client, await log_in(clients(), await make.person())]
    for browser in others:
        page = (await browser.get(f"/runs/{sea.run_id}")).text
        assert ("Make an offshoot of it" in page) is allowed
        assert ("allows no offshoots" in page) is not allowed
    assert "Make an offshoot of it" in (await hers.get(f"/runs/{sea.run_id}")).text
    running = await make.run(sea)
    assert "Make an offshoot" not in (await hers.get(f"/runs/{running.id}")).text


async def test_a_form_sent_again_leads_to_its_offshoot_though_the_parent_was_closed(make, client, log_in):
    sea = await make.pipeline(visibility="public")
    browser = await log_in(client, await make.person())
    first = await browser.post(f"/pipelines/{sea.id}/forks", data={"version": "1", "key": "one"})
    await db.execute("UPDATE pipelines SET visibility = 'private', title = 'Lake' WHERE id = $1", sea.id)
    again = await browser.post(f"/pipelines/{sea.id}/forks", data={"version": "1", "key": "one"})
    assert again.headers["location"] == first.headers["location"]
    assert (await browser.post(f"/pipelines/{sea.id}/forks", data={"version": "1", "key": "two"})).status_code == 404


async def test_a_form_sent_again_leads_to_the_offshoot_it_made(make):
    eve, ada, sea = await make.person(), await make.person(), await make.pipeline()
    made = await asyncio.gather(*(forks.fork(sea.version_id, eve.id, once="key") for _ in range(4)))
    assert len({one.id for one in made}) == 1
    await db.execute("UPDATE pipelines SET created_at = created_at - interval '1 year' WHERE id = $1", made[0].id)
    assert (await forks.fork(sea.version_id, eve.id, once="key")).id == made[0].id
    others = [await forks.fork(sea.version_id, eve.id, once="another"), await forks.fork(sea.version_id, eve.id)]
    others.append(await forks.fork(sea.version_id, ada.id, once="key"))
    assert len({one.id for one in [made[0], *others]}) == 4
    await pipelines.delete(made[0].id, eve.id)
    assert (await forks.fork(sea.version_id, eve.id, once="key")).id != made[0].id
