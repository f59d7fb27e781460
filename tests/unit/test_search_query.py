"""What people type is read, or the broken part is named; what is written is read back the same."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import search_query
from domain.errors import Invalid
from domain.search_days import Days
from domain.search_query import Query, Range, Term, parse, read, write


def test_words_phrases_and_minus() -> None:
    assert parse('harbor  “paper lanterns” -fog -"wide view"') == Query(
        terms=[Term("harbor"), Term("paper lanterns", phrase=True)],
        without=[Term("fog"), Term("wide view", phrase=True)],
    )


def test_every_field_word() -> None:
    text = 'model:SDXL kind:gif tag:"Blue Hour" by:@Marlow license:cc-by-4.0 steps:>30 seed:42 rating:>4 -tag:night'
    assert parse(text) == Query(
        model=["sdxl"],
        kind=["animation"],
        tag=["blue hour"],
        by=["marlow"],
        license=["cc-by-4.0"],
        steps=Range(low=30, above=True),
        seed=[42],
        rating=Range(low=4, above=True),
        no_tag=["night"],
    )


@pytest.mark.parametrize(
    ("typed", "span"),
    [
        ("30", Range(30, 30)),
        (">30", Range(low=30, above=True)),
        (">=30", Range(low=30)),
        ("≥30", Range(low=30)),
        ("<30", Range(high=30, below=True)),
        ("<=30", Range(high=30)),
        ("20-30", Range(20, 30)),
        ("20..30", Range(20, 30)),
    ],
)
def test_ranges(typed: str, span: Range) -> None:
    assert parse(f"steps:{typed}").steps == span
    inside = [n for n in range(1, 60) if span.holds(n)]
    assert inside
    assert span.holds(30) is ("=" in typed or "≥" in typed or not typed.startswith((">", "<")))


def test_a_rating_alone_means_at_least() -> None:
    assert parse("rating:4").rating == Range(low=4)
    assert parse("rating:4,5").rating == Range(low=4.5)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("steps:many", "steps: wants a number, as in steps:>30"),
        ("steps:", "steps: wants a number, as in steps:>30"),
        ("steps:30-20", "steps: wants a number, as in steps:>30"),
        ("steps:>30 steps:<10", "steps: is said twice; say it once"),
        ("seed:x1", "seed: wants a whole number, as in seed:42"),
        ("seed:99999999999999999999", "seed: wants a whole number, as in seed:42"),
        ("rating:>9", "rating: wants a number from 1 to 5, as in rating:>4"),
        ("kind:cake", "kind: knows text, image, animation, mesh, audio, not “cake”"),
        ("license:mine", "license: knows no “mine”; one is written as in license:CC-BY-4.0"),
        ("tag:", 'tag: wants a tag, as in tag:night or tag:"blue hour"'),
        ("by:@", "by: wants a person’s handle, as in by:marlow"),
        ('model:""', "model: wants a model’s name, as in model:starter"),
        ("-steps:30", "-steps: cannot be left out; say what it should be, as in steps:<30"),
        ('sea "paper lanterns', "The quotation mark before “paper lanterns” is never closed"),
        ("made:soon", "made: wants a day, month or year, as in made:2026-03 or made:2026-01..2026-03"),
        ("made:2026-13", "made: wants a day, month or year, as in made:2026-03 or made:2026-01..2026-03"),
        ("made:2026-03..2026-01", "made: wants a day, month or year, as in made:2026-03 or made:2026-01..2026-03"),
        ("-made:2026", "-made: cannot be left out; say what it should be, as in made:<2026-03"),
        ("made:2026 made:2025", "made: is said twice; say it once"),
        ("x" * 501, search_query.TOO_LONG),
        ("a b c d e f g h i j k l m n o p q r s t u v w x y", search_query.TOO_MANY),
    ],
)
def test_the_broken_part_is_named(typed: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(typed)
    assert refused.value.fields == {"q": words}


def test_what_can_be_read_is_kept_beside_a_fault() -> None:
    found = read({"q": ["harbor steps:many tag:night"], "seed": ["x"]})
    assert found.query == Query(terms=[Term("harbor")], tag=["night"])
    assert found.faults.keys() == {"q", "seed"}


def test_controls_and_typed_words_are_one() -> None:
    found = read({"q": ["harbor kind:image"], "kind": ["image", "animation"], "by": ["ada, bo"], "steps": [">30"]})
    assert not found.faults
    assert found.query == Query(
        terms=[Term("harbor")], kind=["image", "animation"], by=["ada", "bo"], steps=Range(low=30, above=True)
    )
    assert search_query.typed(found.query) == "harbor"


def test_controls_that_take_several_names() -> None:
    found = read({"model": ["sdxl", "flux, sd 1.5"], "tag": ["blue hour,night"], "seed": ["1, 2 3"]})
    assert found.query == Query(model=["sdxl", "flux", "sd 1.5"], tag=["blue hour", "night"], seed=[1, 2, 3])


def test_two_days_are_one_range() -> None:
    assert read({"from": ["2026-01-05"], "to": ["2026-03"]}).query.made == Days(date(2026, 1, 5), date(2026, 3, 31))
    assert read({"from": ["2026"]}).query == parse("made:>=2026-01-01")
    assert read({"q": ["made:2026-01"], "from": ["2026-01-01"], "to": ["2026-01-31"]}).faults == {}
    assert read({"from": ["soon"], "to": ["2026-02-30"]}).faults == {
        "from": search_query.NO_DAY,
        "to": search_query.NO_DAY,
    }
    assert read({"from": ["2026-03-02"], "to": ["2026-03-01"]}).faults == {"to": search_query.TURNED}
    assert read({"q": ["made:2025"], "to": ["2026"]}).faults == {"from": "made: is said twice; say it once"}


def test_words_that_look_like_fields_are_words() -> None:
    assert parse("http://x.example 16:9 note: c++").terms == [
        Term("http://x.example"), Term("16:9"), Term("note:"), Term("c++"),
    ]  # fmt: skip


@pytest.mark.parametrize("typed", ["", " ", "-", '""', '-""', "()", "!!! ???", "🙂", "\x00", "\ud800"])
def test_nothing_is_no_fault(typed: str) -> None:
    assert parse(typed).empty


@pytest.mark.parametrize("typed", ["(" * 250 + "a+" * 120, "\\" * 500, "-" * 499, '"' * 499, ":" * 499, "a:" * 249])
def test_pathological_text_is_read(typed: str) -> None:
    """Exponential work would never end here."""
    query = read({"q": [typed]}).query
    assert parse(write(query)) == query


def test_ten_thousand_characters_are_refused_in_words() -> None:
    assert read({"q": ["sea " * 2_500]}).faults == {"q": search_query.TOO_LONG}
    assert read({"by": ["x" * 10_000]}).faults == {"by": f"by: {search_query.TOO_LONG_VALUE}"}


def test_words_and_filters_have_limits_of_their_own() -> None:
    words, tags = " ".join(f"{n:020}" for n in range(23)), [f"{n:0100}" for n in range(24)]
    found = read({"q": [words], "tag": tags})
    assert not found.faults
    assert parse(write(found.query)) == found.query
    assert read({"q": [words], "tag": [*tags, "one more"]}).faults == {"q": search_query.TOO_MANY}
    assert read({"tag": ["x" * 101]}).faults == {"tag": f"tag: {search_query.TOO_LONG_VALUE}"}


@given(st.text(max_size=600))
def test_nothing_typed_breaks_it(text: str) -> None:
    found = read({"q": [text]})
    assert parse(write(found.query)) == found.query


PIECES = st.sampled_from(
    ["harbor", '"paper lanterns"', "-fog", '-"wide view"', "model:sdxl", 'tag:"blue hour"', "-tag:night", "by:ada",
     "kind:gif", "-kind:text", "made:2026-03", "made:2026-01..2026-05-02", "steps:>30", "steps:20-30", "seed:7",
     "rating:>=4.5", "license:mit", "16:9", "порт", "港口"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12))
def test_written_and_read_back_it_is_the_same(pieces: list[str]) -> None:
    query = read({"q": [" ".join(pieces)]}).query
    assert parse(write(query)) == query
    for used in search_query.filters(query):
        assert used.rest != query
        assert len(search_query.filters(used.rest)) == len(search_query.filters(query)) - 1
