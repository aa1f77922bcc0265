"""The figures: tables and arrays in, a matplotlib Figure out, in one style; a module for each kind."""
