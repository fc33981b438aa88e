"""What a right solution of each exercise does: `python workshop.py check N` runs these on a learner's files.

`exercises.py` is the list of exercises, and there is one module for each of them. Its `steps` reads as the exercise
does: each `yield` announces a step, and what follows it watches the workflow on a real server and raises
`CheckFailure` where the step is not done. The other modules, one job each:

judge           goes through the steps
apart           does so in a process that may hang or die, since it is a learner's code that runs there
lab, watch      the worker, and the workflows that are tried out on it; what its activities do
clock           makes what an activity waits for by itself cost no time
client_script   a learner's client
children        what exercises 5 and 6 have in common; side_by_side the same of 4 and 5
whole_rollout   the step that all exercises have: one rollout in which all is done
recorder, replay  the other one: run again from its history, a workflow takes the same path
failure         what a check says; explain, clues, traces find more to say of errors, histories and code
report          prints it
test_runs       exercise 9: runs a learner's tests; habits finds what lets mistakes pass in them
messages        what a process that runs a learner's code says to the one that follows it
machine, names  how fast this machine is; names of activities, hosts and clusters
solutions/      right and wrong solutions, by which the checks are tested
"""
