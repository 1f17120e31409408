"""The platform in a real cluster: the objects it consists of there, and what puts them in and takes them out again."""
