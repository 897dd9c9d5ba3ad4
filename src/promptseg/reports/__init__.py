"""Tables and pictures of results: pure functions of numbers and arrays."""
