//! The pure core: from inputs and the time in them to outputs, without descriptor,
//! clock, log call, environment, file or randomness.

pub mod expand;
pub mod policy;
pub mod test_set;
