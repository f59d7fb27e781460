"""The tree: bounded, with private and removed pipelines in their place."""

import uuid

import pytest

from domain import lineage, pipelines
from domain.errors import NotFound
from domain.lineage import Node
from domain.steps import TextToImage


def drawn(node: Node) -> list[Node]:
    return [node, *(one for child in node.children for one in drawn(child))]


async def test_a_pipeline_alone_is_its_own_tree(make):
    sea = await make.pipeline()
    tree = await lineage.around(sea.id, None)
    assert (tree.top.id, tree.top.current, tree.top.children) == (sea.id, True, [])
    assert (tree.generations, tree.pipelines, tree.earlier) == (1, 1, 0)


async def test_parents_siblings_and_children(make):
    root = await make.pipeline(title="Root", published=True)
    sea = await make.pipeline(parent=root, title="Sea")
    sibling = await make.pipeline(parent=root, title="Sibling")
    child = await make.pipeline(parent=sea, title="Child")
    nephew = await make.pipeline(parent=sibling)
    tree = await lineage.around(sea.id, None)
    assert [one.title for one in drawn(tree.top)] == ["Root", "Sea", "Child", "Sibling"]
    assert [one.current for one in drawn(tree.top)] == [False, True, False, False]
    assert tree.top.state == "shown"
    assert tree.top.children[0].state == "unrun"
    assert tree.top.children[1].more == 1
    assert (tree.generations, tree.pipelines) == (3, 5)
    assert {child.id, nephew.id} < {one.id for one in drawn((await lineage.whole(sea.id, None)).top)}


async def test_a_node_says_how_many_words_changed(client, make):
    root = await make.pipeline(title="Root", steps=[TextToImage(prompt="a boat on the sea")], published=True)
    same = await make.pipeline(parent=root, steps=[TextToImage(prompt="a boat on the sea")], published=True)
    other = await make.pipeline(parent=root, steps=[TextToImage(prompt="a red boat at the lake")], published=True)
    words = {one.id: one.words for one in drawn((await lineage.around(root.id, None)).top)}
    assert words == {root.id: 0, same.id: 0, other.id: 3}
    assert "3 words changed" in (await client.get(f"/pipelines/{root.id}/lineage")).text


async def test_private_and_removed_keep_their_place_without_their_names(make):
    ada = await make.person()
    root = await make.pipeline(ada, title="Secret root")
    sea = await make.pipeline(parent=root)
    private = await make.pipeline(ada, parent=root, visibility="private", title="Secret twig")
    unlisted = await make.pipeline(ada, parent=root, visibility="unlisted", title="Secret link")
    await pipelines.delete(root.id, ada.id)
    for tree in (await lineage.around(sea.id, None), await lineage.whole(sea.id, None)):
        states = {one.id: (one.state, one.title) for one in drawn(tree.top)}
        assert states[root.id] == ("removed", "")
        assert states[private.id] == ("private", "")
        assert states[unlisted.id] == ("private", "")
    own = {one.id: one.title for one in drawn((await lineage.around(sea.id, ada.id)).top)}
    assert own[private.id] == "Secret twig"


async def test_the_page_of_a_child_names_no_private_parent(make, client):
    ada = await make.person()
    root = await make.pipeline(ada, visibility="private", title="Secret root")
    sea = await make.pipeline(parent=root)
    text = (await client.get(f"/pipelines/{sea.id}")).text
    assert "Offshoot of a private pipeline" in text
    assert "Secret root" not in text
    assert "What changed" not in text


async def test_more_than_six_offshoots_are_counted(make, client):
    root = await make.pipeline(title="Root")
    made = [await make.pipeline(parent=root, title=f"Twig {n}") for n in range(15)]
    tree = await lineage.around(root.id, None)
    assert (len(tree.top.children), tree.top.more) == (6, 9)
    last = await lineage.around(made[-1].id, None)
    assert (len(last.top.children), last.top.more) == (6, 9)
    assert any(one.current for one in last.top.children)
    assert "9 more offshoots" in (await client.get(f"/pipelines/{root.id}")).text
    page = await client.get(f"/pipelines/{root.id}/lineage")
    assert all(f"Twig {n}" in page.text for n in range(15))


async def test_public_offshoots_come_before_private_ones(make):
    root = await make.pipeline()
    for _ in range(8):
        await make.pipeline(parent=root, visibility="private")
    public = await make.pipeline(parent=root)
    tree = await lineage.around(root.id, None)
    assert public.id in {one.id for one in tree.top.children}


async def test_deep_lines_begin_two_generations_up(make, client):
    line = [await make.pipeline(title="Generation 1")]
    for n in range(2, 8):
        line.append(await make.pipeline(parent=line[-1], title=f"Generation {n}"))
    tree = await lineage.around(line[5].id, None)
    assert [one.generation for one in drawn(tree.top)] == [4, 5, 6, 7]
    assert (tree.earlier, tree.above, tree.first) == (3, line[2].id, line[0].id)
    text = (await client.get(f"/pipelines/{line[5].id}")).text
    assert "3 earlier generations" in text
    assert f"/pipelines/{line[2].id}/lineage" in text
    assert f"/pipelines/{line[0].id}/lineage" in text


async def test_unknown_and_private_trees_are_not_found(make):
    private = await make.pipeline(visibility="private")
    for pipeline_id in (private.id, uuid.uuid4()):
        with pytest.raises(NotFound):
            await lineage.whole(pipeline_id, None)
    with pytest.raises(NotFound):
        await lineage.around(uuid.uuid4(), None)
