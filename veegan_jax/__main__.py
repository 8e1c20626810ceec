"""`python -m veegan_jax` is the command line, as `python -m veegan_jax.main` is."""

from veegan_jax.main import run

if __name__ == "__main__":
    run()
