//! The engine's integration tests, on the real file system and on the simulated one: one binary, since building each of
//! them takes longer than running it. Apart from them stands what is global to a process (`../traces.rs`).
#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "tests look at real files and clocks, from plain threads"
)]
mod audit;
mod audit_restarts;
mod blocking;
mod cache_threads;
mod cancel;
mod contract;
mod delete;
mod descriptors;
mod flush;
mod hidden_tables;
mod inspect;
mod killed;
mod limits;
mod one_space;
mod os_calls;
mod os_files;
mod os_lock;
mod own_tiers;
mod pins;
mod quota;
mod range_delete;
mod rate;
mod repair;
mod reports;
mod reserve;
mod scans;
mod shutdown;
mod smoke;
mod traced;
mod zeros;
