"""Pure functions from arrays to scalars; they know no network and no config."""
