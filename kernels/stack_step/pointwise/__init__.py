"""Functions of single values that the compiler turns into vectors."""
