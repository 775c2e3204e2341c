"""How policies are trained.

A trainer of plugins.TRAINERS is a module with

    REWARDS                                metrics of its log that are 0 where a policy is its
                                           reference; none where it has no reference
    read_rows(own, replayed)               the rows of a table, and of those of earlier iterations
    token_rows(rows, settings)             what the reference scores, as PairTokens
    selected(gates, rows, tokens, logps, settings)    the rows that are trained on, and their tokens
    arguments(settings, run, state, rows)  TRL's arguments
    as_dataset(rows, settings)             the rows as Trainer takes them
    Trainer(model, arguments, logps, **options)       one of TRL's, with the reference's logps
    gates(gates, dataset)                  PairGates of what a Trainer has
    own_logps(logps)                       those of pairs that the diagnostics read
"""
