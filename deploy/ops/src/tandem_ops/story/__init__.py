"""One patient's course over real practices, told step by step and checked through their public APIs."""
