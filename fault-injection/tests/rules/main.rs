//! Goal: each rule of the fault model holds on the simulated disk: nothing illegal ever happens, and everything legal
//! happens sometimes. Method: a few operations and a crash, under many seeds; the set of outcomes is compared.
mod data;
mod drive;
mod errors;
mod keyed;
mod names;
mod nested;
mod strict;
