"""The law of disclosure: what a permission needs, whose signature counts, and what is released by which rule."""
