//! Executors over tables, on the simulated disk and the real one.
mod disk;
mod files;
