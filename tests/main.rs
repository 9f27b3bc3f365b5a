//! Integration tests across the crates.
mod allocations;
mod budgets;
mod deletion;
mod formats;
mod full_disk;
mod hooked_env;
mod ids;
mod migration;
mod multi_space_persistence;
mod multi_space_persistence_damage;
mod multi_space_persistence_faults;
mod promotion;
mod simulated_repair;
mod simulation;
mod snapshots;
mod tidy;
mod work;
