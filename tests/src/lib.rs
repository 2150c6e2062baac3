//! What LANrage's simulations, labs and benchmarks share.
//!
//! - [`lab`] raises real engines in Linux network namespaces on one machine.
//! - [`scripted`] is an engine that follows a script, for the window alone.
//! - `sim` (feature `sim`) plays whole parties in virtual time, in one process.

#[cfg(target_os = "linux")]
pub mod lab;
pub mod scripted;
#[cfg(feature = "sim")]
pub mod sim;
