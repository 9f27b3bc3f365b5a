//! Goal: what the documents promise of the source itself is true: which way imports point, what no module ever does,
//! where lints are switched off, that every format has a golden.
//!
//! Method: read the source as text. Comments and string literals are taken out first, so that a rule can be spoken
//! about; what is left is searched for names. Every list of exceptions here is exact: an entry too many fails too.
mod directions;
mod documents;
mod exceptions;
mod formats;
mod names;
mod source;
