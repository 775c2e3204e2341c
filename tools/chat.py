"""Talk to policies side by side in the terminal: each answers what you write, in its own
conversation.

    .venv/cpu/bin/python tools/chat.py results/mine/my-3b/base results/mine/my-3b/drift/seed42/iter2

Reads the folders of policies of a run, or of any model in Hugging Face layout. They are rendered
with their own chat templates and sampled with the values of the options, by Hugging Face's generate
in this process: on a GPU where there is one. /new begins again, /quit or the end of the input ends.
For clients of OpenAI's API, serve a policy instead: `vllm serve FOLDER/policy` (with --port, one
port a policy).
"""

import _path  # noqa: F401 - must come before drift
import contextlib
import io
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from _runs import PolicyFolder
from drift import cli
from drift.chat import render, trim
from drift.engines.transformers import TransformersEngine
from drift.settings.sampling import DecodingSettings, GenerationSettings


class Talk:
    """A conversation with each of some policies, by their names."""

    def __init__(self, folders: dict[str, Path], settings: GenerationSettings, seed: int):
        self._engines = {name: TransformersEngine(folder, settings) for name, folder in folders.items()}
        self._settings, self._seed = settings, seed
        self.start()

    def start(self) -> None:
        """Begin again."""
        self._chats: dict[str, list[dict[str, str]]] = {name: [] for name in self._engines}

    def say(self, text: str) -> Iterator[tuple[str, str]]:
        """Each policy's name and its reply to a message. Raises StageError where the message alone
        is too long for one of them, before any replies; a conversation that is loses its oldest
        turns."""
        room = self._settings.context - self._settings.max_tokens
        chats = {}
        for name, engine in self._engines.items():
            chat = [*self._chats[name], {"role": "user", "content": text}]
            chats[name] = trim(chat, lambda messages, engine=engine: len(render(engine.tokenizer, messages)) <= room)
            if chats[name] is None:
                raise cli.StageError(f"the message is too long: --context leaves {room} tokens for a conversation")
        for (name, engine), chat in zip(self._engines.items(), chats.values(), strict=True):
            request = {
                "request_id": name,
                "prompt_token_ids": render(engine.tokenizer, chat),
                "seed": self._seed + len(chat),
            }
            with contextlib.redirect_stderr(io.StringIO()):  # the bar of its one batch
                (reply,) = engine.generate([request])
            self._chats[name] = [*chat, {"role": "assistant", "content": reply["text"]}]
            yield name, reply["text"] + (" …" if reply["finish_reason"] == "length" else "")


def named(folders: list[Path]) -> dict[str, Path]:
    """The folders of models by the names under which they answer. Raises StageError where one is
    no model."""
    found = {}
    for folder in folders:
        if (folder / "config.json").is_file():
            found[str(folder)] = folder
        else:
            policy = PolicyFolder.parse(folder)
            found[str(policy)] = Path(policy.paths.policy)
    if len(found) < len(folders):
        raise cli.StageError("two policies have the same name: give folders of models instead, RUN/MODEL/.../policy")
    return found


def converse(talk: Talk, lines: Iterable[str]) -> None:
    """Answer lines until /quit or their end."""
    for line in lines:
        match line.strip():
            case "":
                continue
            case "/quit":
                return
            case "/new":
                talk.start()
                print("(a new conversation)")
            case text:
                try:
                    for name, reply in talk.say(text):
                        print(f"\n{name}:\n{reply}", flush=True)
                except cli.StageError as error:
                    print(f"error: {error}")
                except KeyboardInterrupt:  # while a policy writes, as while somebody types
                    print()
                    return
                print()


def typed() -> Iterator[str]:
    """The lines that are typed."""
    while True:
        try:
            yield input("you: ")
        except (EOFError, KeyboardInterrupt):
            print()
            return


def main() -> None:
    command = cli.parser(__doc__)
    command.add_argument(
        "policies", nargs="+", type=Path, metavar="POLICY", help="results/RUN/MODEL/POLICY, or a model's folder"
    )
    command.add_argument("--temperature", type=float, default=0.7, help="0: the likeliest token, always; default: 0.7")
    command.add_argument("--top-p", type=float, default=0.9, help="default: 0.9")
    command.add_argument("--max-tokens", type=int, default=512, help="longest reply; default: 512")
    command.add_argument("--context", type=int, default=4096, help="conversation and reply, tokens; default: 4096")
    command.add_argument("--seed", type=int, default=1, help="the same seed and words give the same replies; default: 1")
    arguments = command.parse_args()
    if not 0 <= arguments.temperature < math.inf:
        command.error(f"--temperature is {arguments.temperature}: a number of 0 or more is needed")
    if not 0 < arguments.top_p <= 1:
        command.error(f"--top-p is {arguments.top_p}: a number above 0 and up to 1 is needed")
    if not 0 < arguments.max_tokens < arguments.context:
        command.error(f"--max-tokens is {arguments.max_tokens}: 1 or more are needed, and fewer than --context")
    values = {"temperature": arguments.temperature, "top_p": arguments.top_p, "max_tokens": arguments.max_tokens}
    settings = GenerationSettings(
        backend="transformers",
        context=arguments.context,
        decoding=DecodingSettings(**values, top_k=0, repetition_penalty=1.0),
        choices=None,
        json_schema=None,
        endpoint=None,
    )
    folders = named(arguments.policies)
    print(f"loading {', '.join(folders)} ...", file=sys.stderr)
    converse(Talk(folders, settings, arguments.seed), typed())


if __name__ == "__main__":
    cli.run(main)
