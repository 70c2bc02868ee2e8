//! The program: see `man/gatepost.8`.

fn main() {}
