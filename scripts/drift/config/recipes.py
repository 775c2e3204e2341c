"""The table of methods: where each side of a pair comes from."""

from typing import Literal

from pydantic import Field, model_validator

from drift.config.base import Section

Table = Literal["dsat", "sat", "corrections"]


Sampled = Literal["plain", "guided"]


Side = Literal["logged", "plain", "guided", "best", "worst"]
# Who ranks candidates where no other model does: the policy that wrote them.


# Who ranks candidates where no other model does: the policy that wrote them.
SELF = "self"


class Recipe(Section):
    """A method: where each side of its pairs comes from."""

    prompts: Table = Field(description="whose prompts: dsat or sat")
    chosen: Side = Field(
        description="logged: the reply that the deployment gave; plain: sampled from the prompt; guided: sampled with y- and feedback shown; "
        "best: the candidate that ranks highest"
    )
    rejected: Side = Field(description="as chosen; worst: the candidate that ranks lowest")
    candidates: list[Sampled] = Field(
        [], description="of best and worst: what is sampled for each prompt, plain or guided, an entry a reply"
    )
    rank: str | None = Field(
        None,
        description="who scores the candidates: a row of evaluation.judges or of reward_models, or self, the policy that wrote them",
    )
    start: Literal["warmup", "base"] = Field("warmup", description="the policy that iteration 1 starts from")
    replay: int = Field(0, ge=0, description="earlier iterations whose pairs are trained on again; SPIN's authors keep one")

    @model_validator(mode="after")
    def _sides_exist(self) -> "Recipe":
        logged = {"dsat": {"rejected"}, "sat": {"chosen"}, "corrections": {"chosen", "rejected"}}[self.prompts]
        for side in ("chosen", "rejected"):
            if getattr(self, side) == "logged" and side not in logged:
                raise ValueError(
                    f"{side}: logged, but {self.prompts} has no logged reply that is {side}; sample it (plain or guided)"
                )
        sampled = {
            "chosen": self.chosen,
            "rejected": self.rejected,
            "candidates": "guided" if "guided" in self.candidates else "",
        }
        for key, kind in sampled.items():
            if kind == "guided" and "rejected" not in logged:
                raise ValueError(
                    f"{key}: guided shows the reply that disappointed, which {self.prompts} does not have; use plain"
                )
        if self.chosen == self.rejected and self.chosen != "logged":
            raise ValueError(f"both sides are {self.chosen}: such pairs carry no preference")
        return self

    @model_validator(mode="after")
    def _ranked_have_candidates(self) -> "Recipe":
        if self.chosen == "worst" or self.rejected == "best":
            raise ValueError("best is a chosen side and worst a rejected one, not the other way iteration")
        sides = {self.chosen, self.rejected}
        if not sides & {"best", "worst"}:
            if self.candidates or self.rank:
                raise ValueError("candidates and rank belong to chosen: best and rejected: worst")
        elif sides & {"plain", "guided"}:
            raise ValueError("beside best or worst the other side is logged, or the other end of the ranking")
        elif len(self.candidates) < 2:
            raise ValueError("candidates: a ranking needs two or more, e.g. [plain, guided]")
        elif self.rank is None:
            raise ValueError("rank: who scores the candidates? self, or a row of evaluation.judges or reward_models")
        return self


class RewardModel(Section):
    """A sequence classifier whose one output says how good a reply is; ranks candidates."""

    path: str = Field(description="as models.NAME.path")
    max_length: int = Field(2048, ge=64, description="prompt and reply together, tokens; longer ones are not scored")


RECIPES = {
    "drift": Recipe(prompts="dsat", chosen="guided", rejected="logged"),
    "drift-unguided": Recipe(prompts="dsat", chosen="plain", rejected="logged"),
    "spin": Recipe(prompts="sat", chosen="logged", rejected="plain"),
}
