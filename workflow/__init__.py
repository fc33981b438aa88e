"""The workflow in its versions, its activities, and the data that travels between them.

There is no code in here: the sandbox imports it anew for each run of a workflow.
"""
