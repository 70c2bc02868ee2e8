//! From parameters to typed policy and settings.
