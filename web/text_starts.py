"""Starting points for pipelines that write: the usual tasks, each a prompt with the inputs that it needs."""

from domain.steps import Input, Recipe, TextToText

LANGUAGES = ["English", "Ukrainian", "German", "French", "Spanish", "Polish", "Italian", "Japanese"]


def _task(prompt: str, *inputs: Input, system: str = "", temperature: float = 0.7, most: int = 400) -> Recipe:
    step = TextToText(system=system, prompt=prompt, temperature=temperature, max_new_tokens=most)
    return Recipe(inputs=list(inputs), steps=[step])


def _asked(name: str, default: str = "") -> Input:
    return Input(name=name, default=default)


def _pasted(name: str) -> Input:
    return Input(name=name, kind="long")


def _one_of(name: str, *choices: str) -> Input:
    return Input(name=name, kind="choice", default=choices[0], choices=list(choices))


STARTS: dict[str, tuple[str, Recipe]] = {
    "article": (
        "Article",
        _task(
            "Write an article about {topic} for {readers}. Begin with what matters most, use short sections with "
            "headings, and end with what is still unknown.",
            _asked("topic", "how bees find their way"),
            _asked("readers", "curious adults"),
            most=1_200,
        ),
    ),
    "translate": (
        "Translate",
        _task(
            "Translate into {language}. Keep meaning, tone and names. Answer with the translation alone.\n\n{original}",
            _one_of("language", *LANGUAGES),
            _pasted("original"),
            temperature=0.0,
            most=1_000,
        ),
    ),
    "summarize": (
        "Summarize",
        _task(
            "Summarize in {sentences} sentences, with nothing that it does not say.\n\n{original}",
            Input(name="sentences", kind="number", default="3"),
            _pasted("original"),
            temperature=0.3,
        ),
    ),
    "program": (
        "Program",
        _task(
            "Write a program in {language} that does this: {task}\nGive the code in one block, then explain it in two "
            "sentences.",
            _one_of("language", "Python", "JavaScript", "SQL", "Rust", "Java", "C", "Bash"),
            _asked("task", "counts the words in a file"),
            temperature=0.2,
            most=1_000,
        ),
    ),
    "recommend": (
        "Recommendations",
        _task(
            "Recommend {count} {kind} to somebody who likes {likes}. One line each, with the reason.",
            Input(name="count", kind="number", default="5"),
            _asked("kind", "books"),
            _asked("likes", "slow stories about the sea"),
        ),
    ),
    "style": (
        "Another style",
        _task(
            "Rewrite this {style}. Keep what it says.\n\n{original}",
            _one_of("style", "more plainly", "more formally", "as a poem", "for a child of eight", "half as long"),
            _pasted("original"),
            most=1_000,
        ),
    ),
    "letter": (
        "Letter",
        _task(
            "Write a {tone} letter to {recipient}. It should say: {message}",
            _one_of("tone", "friendly", "formal", "firm", "apologetic"),
            _asked("recipient", "my landlord"),
            _asked("message", "the heating has been off for three days"),
        ),
    ),
    "explain": (
        "Explain",
        _task(
            "Explain {topic} to {listener}, with one example from everyday life.",
            _asked("topic", "why the sky is blue"),
            _asked("listener", "a child of eight"),
        ),
    ),
    "keywords": (
        "Keywords",
        _task(
            "List the {count} most telling keywords of this text, separated by commas and nothing else.\n\n{original}",
            Input(name="count", kind="number", default="8"),
            _pasted("original"),
            temperature=0.0,
            most=100,
        ),
    ),
    "dialogue": (
        "Dialogue",
        _task(
            "Write a dialogue between {first} and {second} about {topic}. Each line begins with who speaks.",
            _asked("first", "a lighthouse keeper"),
            _asked("second", "a lost sailor"),
            _asked("topic", "the way home"),
            temperature=0.9,
            most=800,
        ),
    ),
}
