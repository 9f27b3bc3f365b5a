//! Bulkhead: an embedded, multi-tenant storage engine.
//!
//! A tenant is a *space*. Each space has a directory, a write-ahead log, tiers, recovery and a fate of its own:
//! nothing that happens to one space reaches another. The engine sees the world only through [`env::Env`], so the
//! same code runs on the real operating system ([`env::os::OsEnv`]) and in a deterministic simulator.
pub mod config;
pub mod env;
pub mod error;
pub mod ids;
pub mod limits;
