"""The command line: what a person types; the only room that prints and exits."""
