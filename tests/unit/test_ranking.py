"""Fair orders: few votes don't beat many, good votes never hurt, age counts without recomputation."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain import ranking

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
votes = st.lists(st.integers(1, 5), max_size=200)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))


def test_without_votes_the_prior_speaks() -> None:
    assert ranking.score(0, 0) == ranking.PRIOR_MEAN
    assert ranking.mean(0, 0) is None


def test_the_examples_of_the_documentation() -> None:
    assert ranking.score(5, 1) == pytest.approx(3.33, abs=0.005)
    assert ranking.score(450, 100) == pytest.approx(4.43, abs=0.005)


@given(few=st.integers(1, 4), many=st.integers(40, 10_000))
def test_a_few_best_votes_do_not_beat_many_good_ones(few: int, many: int) -> None:
    assert ranking.score(5 * few, few) < ranking.score(round(4.4 * many), many)


@given(votes)
def test_the_score_stays_between_the_prior_and_the_mean(stars: list[int]) -> None:
    assume(stars)
    mean = sum(stars) / len(stars)
    low, high = sorted((ranking.PRIOR_MEAN, mean))
    assert low - 1e-9 <= ranking.score(sum(stars), len(stars)) <= high + 1e-9


@given(votes, st.integers(1, 50))
def test_more_good_votes_never_lower_the_rank(stars: list[int], more: int) -> None:
    before = ranking.score(sum(stars), len(stars))
    assert ranking.score(sum(stars) + 5 * more, len(stars) + more) > before
    fair = ranking.points(sum(stars), len(stars), 0)
    assert ranking.points(sum(stars) + 4 * more, len(stars) + more, 0) > fair


@given(votes, st.integers(1, 4), moments)
def test_changing_a_vote_for_a_better_one_raises_both_orders(stars: list[int], worse: int, at: datetime) -> None:
    low, high = [*stars, worse], [*stars, worse + 1]
    assert ranking.score(sum(low), len(low)) < ranking.score(sum(high), len(high))
    trends = [ranking.trend(ranking.points(sum(some), len(some), 0), at) for some in (low, high)]
    assert trends[0] < trends[1]


@given(st.integers(-5_000, 5_000), moments, st.integers(1, 1_000))
def test_newer_trends_higher_at_equal_points(points: int, at: datetime, hours: int) -> None:
    assert ranking.trend(points, at + timedelta(hours=hours)) > ranking.trend(points, at)


@given(
    st.integers(0, 10_000), st.integers(0, 10_000), moments, moments, st.timedeltas(timedelta(0), timedelta(days=900))
)
def test_time_alone_never_changes_who_leads(
    left: int, right: int, left_at: datetime, right_at: datetime, later: timedelta
) -> None:
    """Shifting every age alike, as waiting does, keeps the difference: stored scores stay right."""
    now = ranking.trend(left, left_at) - ranking.trend(right, right_at)
    then = ranking.trend(left, left_at - later) - ranking.trend(right, right_at - later)
    assert now == pytest.approx(then, abs=1e-6)


def test_twice_the_points_are_worth_one_half_life() -> None:
    older = MOMENT - timedelta(seconds=ranking.HALF_LIFE)
    assert ranking.trend(2 * 511 + 1, older) == pytest.approx(ranking.trend(511, MOMENT), abs=1e-9)


@given(st.integers(-1_000, 999), moments)
def test_each_point_counts_also_below_zero(points: int, at: datetime) -> None:
    assert ranking.trend(points, at) < ranking.trend(points + 1, at)


def test_an_offshoot_counts_as_much_as_five_stars() -> None:
    assert ranking.points(0, 0, 1) == ranking.points(5, 1, 0)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        ranking.trend(1, datetime(2026, 1, 1))
