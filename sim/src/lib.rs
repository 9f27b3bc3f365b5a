//! The hunt: draws runs from seeds, executes the engine on a simulated machine that fails and crashes as a real one
//! may, and compares everything that it says with a model outside that machine.
//!
//! A [`plan::Run`] is data; [`draw`] makes one from a seed, [`execute`] executes it, [`model`] knows what each space
//! must hold, [`hunt`] runs many. Whatever fails is replayed from its seed or its repro file, with the same trace.
#![forbid(unsafe_code)]

#[cfg(not(madsim))]
compile_error!(
    "the simulator needs `--cfg madsim` for the whole build: it is set in .cargo/config.toml, and RUSTFLAGS in the \
     environment replaces it. Unset RUSTFLAGS, or add `--cfg madsim` to it."
);

#[cfg(madsim)]
pub mod adapter;
#[cfg(madsim)]
pub mod client;
#[cfg(madsim)]
pub mod damage;
#[cfg(madsim)]
pub mod draw;
#[cfg(madsim)]
pub mod execute;
#[cfg(madsim)]
pub mod failure;
pub mod held;
#[cfg(madsim)]
pub mod hunt;
#[cfg(madsim)]
pub mod limits;
#[cfg(madsim)]
pub mod manifests;
#[cfg(madsim)]
pub mod model;
#[cfg(madsim)]
pub mod mutants;
#[cfg(madsim)]
pub mod plan;
#[cfg(madsim)]
pub mod probe;
#[cfg(madsim)]
pub mod repair;
#[cfg(madsim)]
pub mod repro;
#[cfg(madsim)]
pub mod running;
pub mod say;
#[cfg(madsim)]
pub mod sharing;
#[cfg(madsim)]
pub mod story;
#[cfg(madsim)]
pub mod summary;
#[cfg(madsim)]
pub mod views;
pub mod work;

#[cfg(madsim)]
pub use hunt::{Hunt, run_seeds};
#[cfg(madsim)]
pub use summary::Summary;
