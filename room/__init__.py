"""The board of a room of learners: a workflow that keeps who is where, and what reports to it."""
