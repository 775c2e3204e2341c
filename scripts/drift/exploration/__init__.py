"""How much of what is worth writing each policy writes: section 4.3 of the paper.

The answers of all policies of an iteration, and of the base model, to the same prompts, as vectors
of an encoder. A policy is compared with what the others wrote: how much of their high-reward
answers lies where it writes, too. This is measured among the vectors themselves, and on maps of
them.
"""
