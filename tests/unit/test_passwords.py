"""Which passwords the site takes. How they are kept is tested with the login."""

import pytest

from domain.passwords import MAX, MIN, NOBODY, fault, hashed, matches, outdated


@pytest.mark.parametrize(
    "password", ["boats at the quay", "Tr0ub4dor&3", "ж" * 5 + "абвгд", "x7#kQ!p2Lm", "a b c d e f g"]
)
def test_good_ones(password: str) -> None:
    assert fault(password) is None


@pytest.mark.parametrize(
    "password",
    [
        "x" * (MIN - 1), "ab" * (MAX // 2 + 1), "aaaaaaaaaaaa", "ababababab", "1234567890", "9876543210", "password12",
        "PASSWORD!!", "p@ssw0rd2020", "monkeymonkey", "iloveyou2024", "qwertyuiop1", "12345678910", "__dragon__1999",
    ],
)  # fmt: skip
def test_weak_ones(password: str) -> None:
    assert fault(password)


def test_what_is_known_about_the_person() -> None:
    assert fault("marlow-quay-2024!", "marlow-quay", "m@example.org")
    assert fault("m@example.org", "marlow", "m@example.org")
    assert fault("marlow and the sea", "marlow") is None


def test_every_word_of_the_list_is_refused() -> None:
    from domain.passwords import _words

    assert len(_words()) > 1_000
    assert [word for word in _words() if len(word) >= MIN and fault(word) is None] == []


def test_hash_and_match() -> None:
    kept = hashed("boats at the quay")
    assert matches(kept, "boats at the quay")
    assert not matches(kept, "boats at the Quay")
    assert not matches("!", "boats at the quay")
    assert not matches(NOBODY, "boats at the quay")
    assert not outdated(kept)
    assert not outdated(NOBODY), "an unknown account would answer sooner or later than a wrong password"
    assert hashed("boats at the quay") != kept
