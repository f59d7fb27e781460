"""Fair orders: few votes don't beat many, rings don't beat people, good votes never hurt."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import ranking
from domain.ranking import GROWN_UP, LOOK_AGAIN, NO_VOTES, PROVEN_AFTER, Standing, Voter

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
standings = st.sampled_from(Standing)
Vote = tuple[Standing, int]
votes = st.lists(st.tuples(standings, st.integers(1, 5)), max_size=200)
tallies = st.lists(st.integers(0, 2_000), min_size=20, max_size=20)
crowds = st.integers(0, 1_000_000)


def tally(given: list[Vote]) -> list[int]:
    counts = list(NO_VOTES)
    for standing, stars in given:
        counts[standing * 5 + stars - 1] += 1
    return counts


def plus(counts: list[int], standing: Standing, stars: int, how_many: int = 1) -> list[int]:
    changed = list(counts)
    changed[standing * 5 + stars - 1] += how_many
    return changed


def of(standing: Standing, stars: int, how_many: int) -> list[int]:
    return plus(list(NO_VOTES), standing, stars, how_many)


def test_without_votes_the_prior_speaks() -> None:
    assert ranking.score(NO_VOTES) == ranking.PRIOR_MEAN
    assert ranking.points(NO_VOTES, 0) == 0
    assert ranking.mean(0, 0) is None


def test_the_examples_of_the_documentation() -> None:
    assert ranking.score(of(Standing.PROVEN, 5, 1)) == pytest.approx(3.33, abs=0.005)
    assert ranking.score(of(Standing.NEW, 5, 1)) == pytest.approx(3.1, abs=0.005)
    assert ranking.score(plus(of(Standing.PROVEN, 4, 5), Standing.PROVEN, 5, 5)) == pytest.approx(4.0)


@given(few=st.integers(1, 4), many=st.integers(40, 10_000))
def test_a_few_best_votes_do_not_beat_many_good_ones(few: int, many: int) -> None:
    good = plus(of(Standing.PROVEN, 4, many * 6 // 10), Standing.PROVEN, 5, many * 4 // 10)
    assert ranking.score(of(Standing.PROVEN, 5, few)) < ranking.score(good)


@given(tallies)
def test_the_score_stays_between_the_worst_and_the_best_opinion(counts: list[int]) -> None:
    opinions = [stars for stars, n in enumerate(ranking.spread(counts), 1) if n] + [ranking.PRIOR_MEAN]
    assert min(opinions) - 1e-9 <= ranking.score(counts) <= max(opinions) + 1e-9


# more good votes never lower a rank


@given(tallies, standings, st.integers(1, 50))
def test_five_stars_never_lower_either_order(counts: list[int], standing: Standing, more: int) -> None:
    after = plus(counts, standing, 5, more)
    assert ranking.score(after) >= ranking.score(counts) - 1e-12
    assert ranking.points(after, 0) >= ranking.points(counts, 0) - 1e-9


@given(votes, standings)
def test_one_star_never_raises_either_order(given: list[Vote], standing: Standing) -> None:
    counts = tally(given)
    after = plus(counts, standing, 1)
    assert ranking.score(after) <= ranking.score(counts) + 1e-12
    assert ranking.points(after, 0) <= ranking.points(counts, 0) + 1e-9


@given(tallies, standings, st.integers(1, 5))
def test_a_vote_as_good_as_the_best_opinion_never_lowers_the_score(
    counts: list[int], standing: Standing, stars: int
) -> None:
    best = max((mean for _, mean in ranking._groups(counts)), default=ranking.PRIOR_MEAN)
    if stars >= max(best, ranking.PRIOR_MEAN):
        assert ranking.score(plus(counts, standing, stars)) >= ranking.score(counts) - 1e-12


@given(tallies, standings, st.integers(1, 4), moments)
def test_changing_a_vote_for_a_better_one_raises_both_orders(
    counts: list[int], standing: Standing, worse: int, at: datetime
) -> None:
    low, high = plus(counts, standing, worse), plus(counts, standing, worse + 1)
    assert ranking.score(low) < ranking.score(high)
    assert ranking.points(low, 0) < ranking.points(high, 0)
    assert ranking.trend(ranking.points(low, 0), at) <= ranking.trend(ranking.points(high, 0), at)


@given(crowds, standings)
def test_more_voters_weigh_more_and_each_further_one_no_more_than_the_last(n: int, standing: Standing) -> None:
    one, two, three = (ranking.weight(standing, n + more) for more in range(3))
    assert one < two < three
    assert three - two <= two - one + 1e-9


# rings


@given(ring=crowds, independent=st.integers(10, 10_000), stars=st.integers(4, 5))
def test_a_ring_of_new_accounts_does_not_lift_above_ten_independent_votes(
    ring: int, independent: int, stars: int
) -> None:
    made_up = ranking.score(of(Standing.NEW, 5, ring))
    assert made_up < ranking.score(of(Standing.PROVEN, stars, independent))
    assert made_up < ranking.score(of(Standing.SETTLED, stars, independent))


@given(ring=crowds)
def test_ten_proven_votes_of_three_and_a_half_stars_are_enough(ring: int) -> None:
    ten = plus(of(Standing.PROVEN, 3, 5), Standing.PROVEN, 4, 5)
    assert ranking.score(of(Standing.NEW, 5, ring)) < ranking.score(ten)


@given(tallies, crowds, st.sampled_from([Standing.NEW, Standing.CLOSE]))
def test_a_ring_moves_what_nobody_of_its_kind_rated_by_less_than_one_proven_vote(
    counts: list[int], ring: int, kind: Standing
) -> None:
    counts[kind * 5 : kind * 5 + 5] = [0] * 5
    assert ranking.score(plus(counts, kind, 5, ring)) <= ranking.score(plus(counts, Standing.PROVEN, 5))
    assert ranking.score(plus(counts, kind, 1, ring)) >= ranking.score(plus(counts, Standing.PROVEN, 1))


@given(ring=st.integers(0, 1_000), independent=st.integers(20, 1_000))
def test_a_ring_that_has_grown_up_does_not_lift_above_twenty_proven_votes(ring: int, independent: int) -> None:
    patient = of(Standing.SETTLED, 5, ring)
    assert ranking.score(patient) < ranking.score(of(Standing.PROVEN, 5, independent))


# tallies


@given(votes, st.randoms(use_true_random=False))
def test_the_order_of_votes_makes_no_difference(given: list[Vote], chance: random.Random) -> None:
    shuffled = list(given)
    chance.shuffle(shuffled)
    assert ranking.score(tally(given)) == ranking.score(tally(shuffled))
    assert ranking.points(tally(given), 3) == ranking.points(tally(shuffled), 3)


@given(votes, standings, st.integers(1, 5))
def test_withdrawing_restores(given: list[Vote], standing: Standing, stars: int) -> None:
    before = tally(given)
    after = plus(plus(before, standing, stars), standing, stars, -1)
    assert ranking.score(after) == ranking.score(before)
    assert ranking.points(after, 0) == ranking.points(before, 0)


@given(votes)
def test_the_spread_and_the_sum_know_no_standing(given: list[Vote]) -> None:
    counts = tally(given)
    assert ranking.spread(counts) == tuple(sum(stars == n for _, stars in given) for n in range(1, 6))
    assert ranking.total(counts) == sum(stars for _, stars in given)


# standing


def voter(days: float = 100, published: bool = True, given: int = 1, returned: int = 0, breadth: int = 0) -> Voter:
    return Voter(timedelta(days=days), published, given, returned, breadth)


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (voter(), Standing.PROVEN),
        (voter(published=False), Standing.SETTLED),
        (voter(days=29.9), Standing.SETTLED),
        (voter(days=6.9), Standing.NEW),
        (voter(days=6.9, given=9), Standing.NEW),
        (voter(days=0), Standing.NEW),
        (voter(given=2), Standing.PROVEN),
        (voter(given=3), Standing.CLOSE),
        (voter(given=3, breadth=4), Standing.CLOSE),
        (voter(given=300, breadth=5), Standing.PROVEN),
        (voter(returned=1), Standing.CLOSE),
        (voter(returned=3, breadth=5), Standing.PROVEN),
        (voter(given=3, returned=2, breadth=5), Standing.PROVEN),
        (voter(given=3, returned=3, breadth=5), Standing.CLOSE),
    ],
    ids=str,
)
def test_standing(who: Voter, expected: Standing) -> None:
    assert ranking.standing(who) is expected


@given(joined=st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_vote_is_looked_at_again_when_its_giver_grows_up_and_every_month(joined: timedelta) -> None:
    due = ranking.look_again(MOMENT - joined, MOMENT)
    assert MOMENT < due <= MOMENT + LOOK_AGAIN
    if joined < GROWN_UP:
        assert due == MOMENT - joined + GROWN_UP
    elif joined < PROVEN_AFTER:
        assert due == min(MOMENT - joined + PROVEN_AFTER, MOMENT + LOOK_AGAIN)


# trending


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
    assert ranking.points(NO_VOTES, ranking.grown([0, 0, 0, 1])) == ranking.points(of(Standing.PROVEN, 5, 1), 0)


# offshoots

growers = st.lists(st.integers(0, 100_000), min_size=4, max_size=4)


@given(growers, standings, st.integers(1, 1_000), tallies)
def test_more_growers_never_lower_an_order(counts: list[int], standing: Standing, more: int, votes: list[int]) -> None:
    after = list(counts)
    after[standing] += more
    assert ranking.grown(after) >= ranking.grown(counts)
    assert ranking.whole(ranking.grown(after)) >= ranking.whole(ranking.grown(counts))
    assert ranking.points(votes, ranking.grown(after)) >= ranking.points(votes, ranking.grown(counts))


@given(ring=crowds, others=growers, kind=st.sampled_from([Standing.NEW, Standing.CLOSE]))
def test_a_ring_of_growers_weighs_less_than_one_proven_person(ring: int, others: list[int], kind: Standing) -> None:
    others[kind] = 0
    pushed, liked = list(others), list(others)
    pushed[kind] += ring
    liked[Standing.PROVEN] += 1
    assert ranking.grown(pushed) < ranking.grown(liked)
    made_up = [0, 0, 0, 0]
    made_up[kind] = ring
    assert ranking.whole(ranking.grown(made_up)) < ranking.whole(ranking.grown([0, 0, 0, 1]))


@given(ring=crowds, independent=st.integers(10, 10_000))
def test_growers_who_only_waited_stay_below_ten_proven_people(ring: int, independent: int) -> None:
    patient, liked = ranking.grown([0, 0, ring, 0]), ranking.grown([0, 0, 0, independent])
    assert ranking.whole(patient) < ranking.whole(liked)


@given(ring=crowds, at=moments)
def test_a_ring_trends_no_higher_than_one_proven_person(ring: int, at: datetime) -> None:
    pushed = ranking.trend(ranking.points(NO_VOTES, ranking.grown([ring, 0, 0, 0])), at)
    assert pushed < ranking.trend(ranking.points(NO_VOTES, ranking.grown([0, 0, 0, 1])), at)


def test_nobody_weighs_nothing() -> None:
    assert ranking.grown([0, 0, 0, 0]) == ranking.whole(0.0) == 0


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        ranking.trend(1, datetime(2026, 1, 1))
