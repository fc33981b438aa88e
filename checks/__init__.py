"""What a right solution of each exercise does: `python workshop.py check N` runs these on a learner's files.

One module an exercise. Its `steps` reads as the exercise does: each `yield` announces a step, and what follows it
watches the workflow on a real server and raises `CheckFailure` where the step is not done. All of that runs in a
process that may hang or die (`apart.py`), since it is a learner's code.
"""
