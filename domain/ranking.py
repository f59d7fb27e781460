"""Score arithmetic: how stars become an order. Pure functions, no database.

**Best** is a Bayesian average of weighted votes. Every pipeline starts with `PRIOR_WEIGHT` imagined
votes of `PRIOR_MEAN` stars, and what people gave is averaged in with them:

    score = (PRIOR_WEIGHT * PRIOR_MEAN + sum of weight * mean) / (PRIOR_WEIGHT + sum of weight)

The sums go over the standings below: `mean` is that of the stars given by voters of one standing,
`weight` what those voters count for together. Ten full votes around 4.5 carry a pipeline to 4.0, one
alone to 3.25: with few votes the prior speaks, with many the people do. It is the posterior mean of
a Dirichlet prior over the five star values (Gelman and others, "Bayesian Data Analysis", chapters 2
and 3), IMDb's "weighted rating" has the same form, and Evan Miller ("How Not To Sort By Average
Rating", "Ranking Items With Star Ratings") tells why neither the mean nor the sum of votes is fair.
The prior is a constant and not the site's present mean: one vote changes one row, and never the
order of two others.

**Standing** says how much a vote tells besides the votes that are there already. Accounts cost
nothing, so no rule about accounts alone keeps one person from being many (Douceur, "The Sybil
Attack", 2002). What helps is to ask for something that a crowd of made-up people lacks:

* *Time.* Votes of accounts younger than `GROWN_UP` are new.
* *Independence.* Whoever rates almost only one owner's work, or trades stars with them, is close to
  that owner: a collective, as EigenTrust calls it (Kamvar, Schlosser and Garcia-Molina, 2003).
* *Work.* Whoever is here for `PROVEN_AFTER` and has published a result of their own is proven; what they grew
  from this very owner's work does not prove them.
* Everybody else is settled.

**Offshoots** are votes too: whoever lists one of somebody else's pipeline says that it was worth growing from.
They are weighed in the same way, or a crowd of made-up people would buy with offshoots what it cannot buy with
stars. So a person counts once for a pipeline however many offshoots they grow from it, nobody counts for their
own, and only what is in the public lists counts, which takes a published result. Ties are told by offshoots, as
those of voters by stars: who grows almost only from one owner's work is close to them. "Most offshoots" orders by
the weight of the people who list a direct offshoot, "most grown" by that of the people who list anything in the
line that a pipeline began. Cards show how many people they are, as they show the plain mean beside the star.

**Weight.** Voters of one standing who may be one person in disguise are taken for correlated. The
effective size of a sample of n alike answers is n / (1 + (n - 1) * correlation), Kish's design
effect ("Survey Sampling", 1965, chapter 5.4), so

    weight = one * n / (1 + (n - 1) * correlation)    which stays below    one / correlation

All new voters together never outweigh one proven vote, nor do all close ones; all settled ones
together stay below ten. That is a bound on influence as in Resnick and Sami, "The Influence Limiter"
(2007): a ring buys less and less with each account, and what it buys is bounded however large it is.
Proven voters count one each. On a young site where everybody is new the order is still that of
means, with more votes before fewer: weights only ever compare.

Counts by standing and stars are whole numbers (a *tally*), so neither the order of votes nor what
was given and taken back leaves a trace, and a vote moves two of twenty numbers of one row.

**Trending** is the logarithm of the weighted points plus the time of publication in half-lives:

    trend = log2(1 + points) + published_at / HALF_LIFE

Points are weighted stars above three, and `OFFSHOOT_POINTS` times what those weigh who grew something from it.

Twice the points are worth as much as being one half-life younger. Age is an addend that is the
same for everybody at every moment, so the difference between two pipelines never changes while
nobody votes: the order holds without recomputing anything, and a stored number can be indexed
and paged through. What is new simply starts higher than what is old ever started.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

PRIOR_MEAN = 3.0
"""Stars a pipeline without votes is taken to deserve: the middle of the scale."""
PRIOR_WEIGHT = 5.0
"""Votes that the prior is worth."""

HALF_LIFE = 2 * 24 * 3600.0
"""Seconds after which a pipeline needs twice the points to hold its place."""
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Where publication times count from. Any constant would do; a near one keeps numbers small."""
OFFSHOOT_POINTS = 2
"""Points of a proven person's offshoot: growing one says as much as five stars of theirs do."""
WHOLE = 1_000
"""Parts of a proven person's weight in which offshoots are kept: whole numbers order alike everywhere."""

GROWN_UP = timedelta(days=7)
"""An account's age from which its votes are no longer new."""
PROVEN_AFTER = timedelta(days=30)
"""An account's age from which it is proven, if it has published something."""
LOOK_AGAIN = timedelta(days=30)
"""A vote's standing is looked at again after so long, birthdays aside."""
OFTEN = 3
"""Votes for one owner's pipelines from which a voter may be close to that owner."""
BREADTH = 5
"""Other owners whose work a voter has rated, from which few ties tell nothing."""


class Standing(IntEnum):
    """What a vote's giver is to the site and to the pipeline's owner. Stored: never renumber."""

    NEW = 0
    CLOSE = 1
    SETTLED = 2
    PROVEN = 3


class Weight(NamedTuple):
    """What one voter of a standing counts for, and how correlated such voters are taken to be."""

    one: float
    correlation: float


WEIGHTS = {
    Standing.NEW: Weight(1 / 4, 1 / 4),
    Standing.CLOSE: Weight(1 / 4, 1 / 4),
    Standing.SETTLED: Weight(1 / 2, 1 / 20),
    Standing.PROVEN: Weight(1, 0),
}
STARS = 5
Tally = Sequence[int]
"""Votes by standing and stars: the count for `stars` of a standing is at `standing * 5 + stars - 1`."""
NO_VOTES: Tally = (0,) * (STARS * len(Standing))


class Voter(NamedTuple):
    """What is known of somebody who rates a pipeline, or who grew an offshoot from it; "rated" is then read as
    "grew something from". `given`, `returned` and `breadth` may stop at the numbers that matter (`OFTEN` and
    `BREADTH`)."""

    age: timedelta
    published: bool
    """Whether a pipeline of their own is in the public lists that did not grow from this owner's."""
    given: int
    """How many pipelines of this owner they rated, this one among them."""
    returned: int
    """How many of theirs the owner rated."""
    breadth: int
    """How many other owners' work they rated."""


def standing(voter: Voter) -> Standing:
    """The standing of a vote."""
    if voter.age < GROWN_UP:
        return Standing.NEW
    if _close(voter):
        return Standing.CLOSE
    if voter.published and voter.age >= PROVEN_AFTER:
        return Standing.PROVEN
    return Standing.SETTLED


def _close(voter: Voter) -> bool:
    if voter.breadth < BREADTH:
        return voter.given >= OFTEN or voter.returned > 0
    return voter.given >= OFTEN and voter.returned >= OFTEN


def look_again(joined: datetime, now: datetime) -> datetime:
    """When a vote given by somebody who joined then should be looked at again: always after `now`."""
    birthdays = (joined + age for age in (GROWN_UP, PROVEN_AFTER))
    return min((day for day in (*birthdays, now + LOOK_AGAIN) if day > now), default=now + LOOK_AGAIN)


def weight(of: Standing, votes: int) -> float:
    """What so many voters of one standing count for together, in proven votes."""
    one, correlation = WEIGHTS[of]
    return one * votes / (1 + (votes - 1) * correlation) if votes else 0.0


def _groups(tally: Tally) -> Iterator[tuple[float, float]]:
    """Weight and mean of every standing that has votes."""
    for of in Standing:
        counts = tally[of * STARS : (of + 1) * STARS]
        votes = sum(counts)
        if votes:
            yield weight(of, votes), sum(stars * n for stars, n in enumerate(counts, 1)) / votes


def score(tally: Tally) -> float:
    """The Bayesian average, from 1 to 5, of the weighted votes."""
    total, stars = PRIOR_WEIGHT, PRIOR_WEIGHT * PRIOR_MEAN
    for heavy, mean in _groups(tally):
        total += heavy
        stars += heavy * mean
    return stars / total


def grown(growers: Sequence[int]) -> float:
    """What those weigh together who grew something, counted by standing, in proven people."""
    return sum(weight(of, growers[of]) for of in Standing)


def whole(heavy: float) -> int:
    """A weight in thousandths of a proven person, as it is stored and ordered by; cut off, so that what stays below
    a bound does so here too."""
    return math.floor(WHOLE * heavy)


def points(tally: Tally, offshoots: float) -> float:
    """Weighted votes: each star above three counts for, each below three against; for it also counts what those
    weigh who grew its `offshoots` (`grown`)."""
    return sum(heavy * (mean - 3) for heavy, mean in _groups(tally)) + OFFSHOOT_POINTS * offshoots


def trend(weighted: float, published_at: datetime) -> float:
    """The trending score of `weighted` points (may be negative) first published at that time.

    Compare it only with other trending scores. Raises ValueError for a time without a zone.
    """
    if published_at.tzinfo is None:
        raise ValueError("A publication time needs a zone")
    age = (published_at - EPOCH).total_seconds() / HALF_LIFE
    return math.copysign(math.log2(1 + abs(weighted)), weighted) + age


def spread(tally: Tally) -> tuple[int, ...]:
    """How many people gave one, two, three, four and five stars, whatever their standing."""
    return tuple(sum(tally[stars::STARS]) for stars in range(STARS))


def total(tally: Tally) -> int:
    """All stars together, unweighted."""
    return sum(stars * n for stars, n in enumerate(spread(tally), 1))


def mean(rating_sum: int, rating_count: int) -> float | None:
    """The plain mean that people are shown, or None without votes."""
    return rating_sum / rating_count if rating_count else None
