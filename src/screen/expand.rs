//! Macro expansion (postconf(5) syntax).
