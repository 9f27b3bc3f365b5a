//! Goal: bytes on disk mean the same for ever, and bytes from a disk are never believed.
//!
//! Method: [`golden`] holds every format's bytes against a file under `snapshots/`, in both directions: today's encoder
//! must write them, and today's decoder must read them. [`untrusted`] feeds decoders arbitrary bytes, valid bytes with
//! arbitrary changes, and changed bytes whose checksum was put right again; a decoder must not panic, must not allocate
//! more than its input accounts for, and must never hand out anything that was not written. [`shown`] holds what people
//! are told of files.
mod golden;
mod hex;
mod samples;
mod shown;
mod tables;
mod untrusted;
