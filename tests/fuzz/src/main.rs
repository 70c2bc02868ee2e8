//! The fuzz targets under libFuzzer. `GATEPOST_FUZZ_TARGET` says which one; the arguments
//! are libFuzzer's. `scripts/fuzz.sh` builds and runs it.

#![no_main]

mod targets;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::{ALL, Target};

fn chosen() -> Target {
    let name = std::env::var("GATEPOST_FUZZ_TARGET").unwrap_or_default();
    let found = ALL.iter().find(|target| target.name == name);
    *found.unwrap_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|target| target.name).collect();
        eprintln!("GATEPOST_FUZZ_TARGET={name} is not one of: {}", names.join(" "));
        std::process::exit(2)
    })
}

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    (TARGET.get_or_init(chosen).check)(data);
});
