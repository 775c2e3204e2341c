"""Rankers: what scores an iteration's candidates and both sides of its pairs, apart from judges.
One module a kind.

A ranker is a module with

    NEEDS_PATH                     what rankers.NAME.path must name, in words; empty: nothing
    READS                          which further keys of rankers.NAME it reads: another is refused
    scores(rows, settings, path)   scores by request_id, higher for better replies

`rows` are dicts of request_id, prompt (messages) and text (a reply, which the limit of tokens may
have cut where sampling.cut is prefix); `settings` is a RewardSettings; `path` the folder or file
that the kind needs, None where it needs none. A row without a score is in no ranking. Scores of a
prompt are compared with each other alone. Errors that a user can fix are StageErrors. A new kind is
such a module and its line in plugins.RANKERS.

The configuration loads rankers, so that their top level imports neither polars nor torch.
"""
