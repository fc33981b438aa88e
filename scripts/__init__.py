"""For maintainers: what makes the pictures in `docs` and the slides, and what measures a room."""
