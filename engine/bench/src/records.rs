//! What is written: 16-byte keys and values that do not compress.

/// In which order keys come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    Random,
    Ascending,
}

/// Bytes of a key.
pub const KEY: usize = 16;
/// Bytes of a value where nothing else is said.
pub const VALUE: usize = 128;

/// The key number `n`. No two are equal.
pub fn key(n: u64, order: Order) -> [u8; KEY] {
    let mut key = [0; KEY];
    key[..8].copy_from_slice(&match order {
        Order::Random => mix(n).to_be_bytes(),
        Order::Ascending => 0u64.to_be_bytes(),
    });
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

/// The value number `n`.
pub fn value(n: u64, len: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(len + 8);
    let mut state = mix(n);
    while value.len() < len {
        value.extend_from_slice(&state.to_le_bytes());
        state = mix(state);
    }
    value.truncate(len);
    value
}

/// splitmix64's output function: a bijection.
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Bytes that one put takes in the log when it is a commit group of its own.
pub fn frame_len(value: usize) -> usize {
    use bulkhead::wal::{frame, operation::Operation};
    let put =
        Operation::Put { key: &[0; KEY], value: &vec![0; value], priority: bulkhead::Priority::default() };
    frame::frame_len(1 + put.encoded_len())
}

/// Numbers of records, each handed out once.
#[derive(Debug, Default)]
pub struct Numbers(u64);

impl Numbers {
    /// The next `count`.
    pub fn take(&mut self, count: usize) -> std::ops::Range<u64> {
        let first = self.0;
        self.0 += count as u64;
        first..self.0
    }
}
