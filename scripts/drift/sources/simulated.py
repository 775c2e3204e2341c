"""Conversations of simulated users with a deployed model, which the run itself keeps as logs
(rules/simulate.smk)."""

from drift.sources.logs import CONVERSATION_DROPS, DROPS, SUFFIXES, UNIT, read

__all__ = ["CONVERSATION_DROPS", "DROPS", "SUFFIXES", "UNIT", "read"]
