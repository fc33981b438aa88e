"""For maintainers: what makes the pictures in `docs`."""
