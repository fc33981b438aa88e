"""The board of a room of learners: a workflow that keeps who is where, what reports to it, and what shows it."""
