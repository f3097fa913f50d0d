"""Text images: a few pages to read, and many lines of random words to calibrate with."""

import random
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from PIL import Image, ImageDraw, ImageFont

Line = tuple[int, str]
"""The height of the letters in pixels, and what they say."""

PAGES: Mapping[str, tuple[int, Sequence[Line]]] = MappingProxyType(
    {
        "receipt": (
            400,
            (
                (30, "CORNER BAKERY"),
                (20, "14 March 2025 09:41"),
                (20, "2 x Rye bread 7.60"),
                (20, "1 x Apple cake 3.25"),
                (20, "3 x Espresso 6.90"),
                (26, "TOTAL 17.75"),
                (18, "Thank you and see you soon"),
            ),
        ),
        "sign": (640, ((60, "PLATFORM 14"), (34, "Express to the coast"), (34, "departs 18:25"))),
        "letter": (
            860,
            (
                (40, "Minutes of the meeting"),
                (24, "The committee met on Tuesday to discuss the new library."),
                (24, "All members were present, and the plan was accepted."),
                (24, "Work will begin in April and should end before winter."),
                (24, "The budget of 482,000 covers the building and the shelves."),
                (24, "Questions can be sent to the secretary until the 30th."),
                (24, "The next meeting takes place in room 217 at 15:30."),
            ),
        ),
        "table": (
            900,
            (
                (30, "Train Destination Time"),
                (26, "RE 7021 Northampton 12:04"),
                (26, "IC 118 Queensbury 12:19"),
                (26, "RB 45 Harbour East 12:31"),
                (26, "ICE 903 Weatherfield 12:46"),
            ),
        ),
    }
)
"""The pages of the demo: a width and lines each."""

WORD_SPACE = "  "
"""The recogniser was trained on wider spaces than those of Pillow's font."""

WORDS = (
    "river",
    "mountain",
    "invoice",
    "number",
    "delivery",
    "street",
    "garden",
    "window",
    "yellow",
    "quick",
    "machine",
    "paper",
    "account",
    "total",
    "weather",
    "station",
    "signal",
    "library",
    "kitchen",
    "journey",
    "evening",
    "question",
    "2025",
    "1,204.50",
    "north",
    "SOUTH",
    "Berlin",
    "Tokyo",
    "EUR",
    "17:45",
    "No.",
    "338",
    "quiet",
    "jump",
    "zero",
    "box",
    "mixed",
    "fly",
    "vivid",
    "wharf",
)


def render(
    width: int, lines: Sequence[Line], ink: str = "black", paper: str = "white"
) -> Image.Image:
    """An image of the lines, one under the other: three wide to two high, or higher if needed."""
    height = max(sum(size * 2 for size, _ in lines) + 40, width * 2 // 3)
    page = Image.new("RGB", (width, height), paper)
    draw = ImageDraw.Draw(page)
    top = 30
    for size, text in lines:
        draw.text(
            (30, top), text.replace(" ", WORD_SPACE), fill=ink, font=ImageFont.load_default(size)
        )
        top += size * 2
    return page


def calibration_pages(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Pages of random words in several sizes and colours; the same for the same seed."""
    choice = random.Random(seed)
    for _ in range(count):
        width = choice.choice((360, 520, 760, 960))
        lines = []
        for _ in range(choice.randint(2, 7)):
            size = choice.choice((16, 20, 24, 30, 42))
            words = choice.choices(WORDS, k=max(1, width // (size * 5)))
            lines.append((size, " ".join(words)))
        ink, paper = choice.choice(
            (("black", "white"), ("navy", "#f4f1e4"), ("white", "#30475e"), ("#444", "#dfe7ea"))
        )
        page = render(width, lines, ink, paper)
        yield page.rotate(180) if choice.random() < 0.2 else page
