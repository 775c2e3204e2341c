"""What a run will take on a machine: its work, whether that fits, and the text of the plan.

Formulas are in cost_model.py, machines in machines.py; tools/plan.py is the command line.
"""
