//! Lookup tables.
