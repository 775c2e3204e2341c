"""The settings of every stage: one frozen type each, which the rule builds and the program parses.

A type stands in the module of its phase: data, training, evaluation. `STAGE.py --help` lists it.
"""
