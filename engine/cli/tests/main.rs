//! Goal: the `bulkhead` command does what its help says. Method: run the built binary in a home directory of its own
//! and look at its exit code, its output and the files that it leaves.
mod crash;
mod dump;
mod help;
mod inspect;
mod points;
mod recover;
mod run;
mod settings;
mod tour;
mod tree;
