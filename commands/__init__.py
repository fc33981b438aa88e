"""What `workshop.py` does: a module for each of its commands."""
