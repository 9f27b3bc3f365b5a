//! Integration tests across the crates.
mod allocations;
mod formats;
mod ids;
mod tidy;
