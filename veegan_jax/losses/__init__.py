"""Pure functions from arrays to scalars. They know neither networks nor the config."""
