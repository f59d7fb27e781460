"""Score arithmetic: how stars become an order. Pure functions, no database.

**Best** is a Bayesian average, also called a shrinkage estimator. Every pipeline starts with
`PRIOR_WEIGHT` imagined votes of `PRIOR_MEAN` stars, and real votes are averaged in with them:

    score = (PRIOR_WEIGHT * PRIOR_MEAN + sum of stars) / (PRIOR_WEIGHT + number of votes)

One vote of five stars moves the score from 3 to 3.33 only, while a hundred votes around 4.5
carry it to 4.43: with few votes the prior speaks, with many the people do. It is the posterior
mean of a Dirichlet prior over the five star values (see Gelman and others, "Bayesian Data
Analysis", chapter 2 and 3). Evan Miller's articles "How Not To Sort By Average Rating" and
"Ranking Items With Star Ratings" explain why neither the plain mean nor the sum of votes is
fair, and are good further reading. The prior is a constant and not the site's present mean, so
one vote changes one row and never the order of two others.

**Trending** is the logarithm of the weighted votes plus the time of publication in half-lives:

    trend = log2(1 + points) + published_at / HALF_LIFE

Twice the points are worth as much as being one half-life younger. Age is an addend that is the
same for everybody at every moment, so the difference between two pipelines never changes while
nobody votes: the order holds without recomputing anything, and a stored number can be indexed
and paged through. What is new simply starts higher than what is old ever started.
"""

import math
from datetime import UTC, datetime

PRIOR_MEAN = 3.0
"""Stars a pipeline without votes is taken to deserve: the middle of the scale."""
PRIOR_WEIGHT = 5.0
"""Votes that the prior is worth."""

HALF_LIFE = 2 * 24 * 3600.0
"""Seconds after which a pipeline needs twice the points to hold its place."""
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Where publication times count from. Any constant would do; a near one keeps numbers small."""
OFFSHOOT_POINTS = 2
"""Points of one offshoot: growing one says as much as five stars do."""


def score(rating_sum: int, rating_count: int) -> float:
    """The Bayesian average, from 1 to 5, of `rating_count` votes adding up to `rating_sum` stars."""
    return (PRIOR_WEIGHT * PRIOR_MEAN + rating_sum) / (PRIOR_WEIGHT + rating_count)


def points(rating_sum: int, rating_count: int, offshoot_count: int) -> int:
    """Weighted votes: each star above three counts for, each below three against, offshoots for."""
    return rating_sum - 3 * rating_count + OFFSHOOT_POINTS * offshoot_count


def trend(weighted: int, published_at: datetime) -> float:
    """The trending score of `weighted` points (may be negative) first published at that time.

    Compare it only with other trending scores. Raises ValueError for a time without a zone.
    """
    if published_at.tzinfo is None:
        raise ValueError("A publication time needs a zone")
    age = (published_at - EPOCH).total_seconds() / HALF_LIFE
    return math.copysign(math.log2(1 + abs(weighted)), weighted) + age


def mean(rating_sum: int, rating_count: int) -> float | None:
    """The plain mean that people are shown, or None without votes."""
    return rating_sum / rating_count if rating_count else None
