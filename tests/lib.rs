//! Empty: the tests are in the binary `all` (main.rs).
