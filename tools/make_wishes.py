"""Write prompts with a wish each that code can check: JSON Lines of the benchmark kind checks.

    tools/make_wishes.py --train 600 --test 180 --folder examples/wishes

A prompt is a topic in a frame, with a wish after it. Wishes that make answers shorter, longer, and
neither are asked for equally often. Training and test prompts share no topic. The wishes of
HELD_OUT are asked for in the test prompts alone: does what was learned carry over?
"""

import _path  # noqa: F401
import argparse
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path

from drift.checks import Check

FRAMES = (
    "What is special about {}?",
    "Tell me something about {}.",
    "How would you explain {} to a ten-year-old?",
    "Why are people interested in {}?",
    "What should I know about {} as a beginner?",
    "Write a short text about {}.",
)
TOPICS = """
acorns; airports; almonds; amber; anchors; ants; apples; aprons; archery; asthma; atlases; attics; autumn; avalanches; backpacks;
badgers; bagpipes; ballet; bamboo; bananas; barbers; bark beetles; basketball; bats; beaches; beavers; bicycles; birch trees;
birthdays; blizzards; blueberries; board games; boats; boiling water; bonfires; bookshops; boots; bread; breakfast; breathing;
bridges; brooms; bubbles; buses; butter; butterflies; cacti; cafes; camels; camping; candles; canoes; caravans; carpets; carrots;
castles; caves; ceilings; chalk; cheese; cherries; chess; chimneys; choirs; cinnamon; circuses; clay; cliffs; clouds; clover;
coal; coconuts; colds; combs; compasses; copper; corn; cotton; crabs; crayons; crickets; crosswords; crows; curtains; daffodils;
daylight; deer; deserts; dew; diaries; doors; dough; dragonflies; dreams; drums; ducks; dust; eagles; echoes; eggs; elbows;
elephants; elevators; envelopes; evening walks; eyebrows; farmers; feathers; ferns; ferries; fevers; fireflies; fishing; flags;
flamingos; fleas; flour; flutes; fog; footprints; forests; forks; fountains; foxes; freckles; frogs; frost; garages; garlic;
geese; ginger; giraffes; glaciers; glass; gloves; glue; goats; gold; grapes; grass; gravel; guitars; hail; hammers; hammocks;
harbours; harvests; hats; hay; hedgehogs; herbs; hiccups; hinges; honey; horses; hospitals; hotels; hummingbirds; ice; icebergs;
igloos; ink; islands; ivy; jam; jellyfish; juggling; kettles; keys; kites; kitchens; knees; knives; knots; ladders; ladybirds;
lakes; lanterns; laughter; laundry; lava; lawns; leather; lemons; letters; libraries; lichen; lightning; lilies; lions; lizards;
loneliness; lullabies; magnets; maple syrup; marathons; markets; mazes; meadows; melons; milk; mills; mint; mirrors; moles; moss;
moths; mountains; mud; museums; mushrooms; mustard; nails; naps; needles; nests; nettles; noses; notebooks; nurses; oak trees;
oats; oceans; octopuses; olives; onions; oranges; orchards; otters; ovens; owls; oysters; paint; pancakes; paper; parks; parrots;
patience; peaches; peacocks; pearls; pebbles; pelicans; pencils; pepper; picnics; pigeons; pillows; pine cones; plaster; plates;
ploughs; plums; ponds; poppies; postcards; potatoes; puddles; pumpkins; puppets; puzzles; quilts; rabbits; radishes; railways;
rain; raspberries; ravens; rice; riddles; rings; rivers; roads; roofs; ropes; roses; rubber; rust; sailors; salads; salt; sand;
sandals; sawmills; scarves; schools; scissors; seagulls; seals; seeds; shadows; sheep; shells; shoes; silk; silver; singing;
skateboards; skiing; slugs; smoke; snails; sneezing; snow; soap; socks; soup; sparrows; spiders; spinach; spoons; squirrels;
stairs; stamps; starfish; statues; steam; stones; storks; storms; strawberries; string; sugar; suitcases; summer; sunburn; sundials;
sunflowers; surfing; swallows; swans; sweaters; swings; tables; tailors; taxis; tea; teachers; teeth; tents; theatres; thunder;
thyme; tides; tigers; tiles; toads; toast; tomatoes; tools; tortoises; towels; trams; treasure; trumpets; tulips; tunnels; turnips;
umbrellas; valleys; vanilla; vases; vets; villages; vinegar; violins; volcanoes; waiters; walnuts; washing hands; watches;
waterfalls; wax; weddings; wells; whales; wheat; wheels; whistles; willows; wind; windmills; windows; wolves; wood; wool; worms;
yawning; yeast; yoghurt; zebras; zips
"""
# What a word of a topic, its singular and its verb begin with, where dropping an ending does not
# show it.
BEGINNINGS = {
    "atlases": "atlas", "buses": "bus", "cacti": "cact", "canoes": "cano", "circuses": "circus", "compasses": "compass",
    "echoes": "echo", "geese": "goose", "knives": "knife", "lightning": "lightning", "octopuses": "octopus",
    "potatoes": "potato", "scarves": "scarf", "string": "string", "teeth": "tooth", "tomatoes": "tomato",
    "volcanoes": "volcano", "wolves": "wolf",
}  # fmt: skip
ENDINGS = {"ies": "", "ches": "ch", "shes": "sh", "xes": "x", "ing": "", "ss": "ss", "s": ""}
EXACTLY_ONE, EXACTLY_TWO = ({"at_least": count, "at_most": count} for count in (1, 2))
# As many of each direction of length.
WISHES = (
    Check.of("words", {"at_most": 30}),
    Check.of("words", {"at_most": 50}),
    Check.of("sentences", EXACTLY_ONE),
    Check.of("words", {"at_least": 60}),
    Check.of("sentences", {"at_least": 5}),
    Check.of("paragraphs", EXACTLY_TWO, "longer"),
    Check.of("includes", {"phrase": "because"}),
    Check.of("includes", {"phrase": "for example"}),
    Check.of("ends_with", {"text_at_end": "?"}),
)
HELD_OUT = (Check.of("sentences", {"at_most": 2}), Check.of("includes", {"phrase": "however"}))


def named_by(topic: str) -> list[str]:
    """Beginnings of the words of which an answer on a topic has one: its last word, and what that
    is without its ending."""
    word = topic.lower().split()[-1]
    ending = next((ending for ending in ENDINGS if word.endswith(ending)), "")
    shorter = BEGINNINGS.get(word, word.removesuffix(ending) + ENDINGS.get(ending, ""))
    return [shorter] if word.startswith(shorter) else sorted([shorter, word])


def prompts(topics: list[str], count: int, wishes: tuple[Check, ...], start: str, seed: int) -> Iterator[dict]:
    """`count` records, whose wishes take turns; topics come again in another frame only after all
    others did."""
    chosen = random.Random(seed)
    order = []
    for frames in itertools.islice(itertools.permutations(FRAMES), len(FRAMES)):
        turn = [(topic, frames[i % len(frames)]) for i, topic in enumerate(topics)]
        chosen.shuffle(turn)
        order += turn
    if count > len(order):
        raise SystemExit(f"{len(topics)} topics give {len(order)} prompts, not {count}; add topics")
    for number, ((topic, frame), wish) in enumerate(zip(order[:count], itertools.cycle(wishes), strict=False)):
        yield {
            "id": f"{start}-{number:04d}",
            "prompt": f"{frame.format(topic)} {wish.wish}",
            "checks": [{"name": wish.name, "arguments": json.loads(wish.arguments), "direction": wish.direction}],
            "topics": named_by(topic),
        }


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--train", type=int, default=600, help="prompts of the users (default 600)")
    command.add_argument("--test", type=int, default=198, help="prompts to test on (default 198)")
    command.add_argument("--seed", type=int, default=1, help="of the order of topics (default 1)")
    command.add_argument("--folder", type=Path, required=True, help="where train.jsonl and test.jsonl are written")
    arguments = command.parse_args()
    topics = [topic.strip() for topic in TOPICS.replace("\n", " ").split(";")]
    random.Random(arguments.seed).shuffle(topics)
    # A quarter of the topics for testing.
    tested = len(topics) // 4
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, own, count, wishes in (
        ("test", topics[:tested], arguments.test, (*WISHES, *HELD_OUT)),
        ("train", topics[tested:], arguments.train, WISHES),
    ):
        records = prompts(own, count, wishes, name, arguments.seed)
        lines = [json.dumps(record) + "\n" for record in records]
        (arguments.folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{arguments.folder / name}.jsonl: {len(lines)} prompts, {len(own)} topics, {len(wishes)} wishes")


if __name__ == "__main__":
    main()
