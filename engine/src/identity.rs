//! The identity file of a space, `SPACE`: written once when the space is made, never changed.
//!
//! ```text
//! file := page, the same page again (its offset in the checksum)
//! page :=
//!  0 magic   [u8;8] "BHSPACE\0"
//!  8 tag     u64    identity tag of (space, file 0, Identity)
//! 16 crc     u32    over tag, offset of this page, and the whole page but these four bytes
//! 20 level   u32    format level that the space is written at
//! 24 space   [u8;16] space uid
//! 40 created u64    milliseconds since the Unix epoch
//! 48 id      u16 length, bytes
//!    zeros up to 4096
//! ```
use crate::codec::{Piece, Reader, checksum, identity_tag, is_zero};
use crate::ids::{FileUid, SpaceId, SpaceUid};
use crate::limits::{PAGE, SPACE_ID_MAX};

/// First bytes of an identity file.
pub(crate) const MAGIC: [u8; 8] = *b"BHSPACE\0";
const CRC_AT: usize = 16;
/// Format level of spaces that this release writes.
pub const SPACE_LEVEL: u32 = 1;
/// Length of the identity file.
pub const IDENTITY_LEN: usize = 2 * PAGE;
/// The identity file is the only one without a uid of its own.
const NO_FILE: FileUid = FileUid::from_raw(0);

/// Who a space is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub id: SpaceId,
    pub uid: SpaceUid,
    /// Milliseconds since the Unix epoch.
    pub created_ms: u64,
}

impl Identity {
    /// The content of the identity file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(IDENTITY_LEN);
        let tag = identity_tag(self.uid, NO_FILE, Piece::Identity);
        for copy in 0..2 {
            let start = copy * PAGE;
            file.extend_from_slice(&MAGIC);
            file.extend_from_slice(&tag.to_le_bytes());
            file.extend_from_slice(&[0; 4]);
            file.extend_from_slice(&SPACE_LEVEL.to_le_bytes());
            file.extend_from_slice(&self.uid.0);
            file.extend_from_slice(&self.created_ms.to_le_bytes());
            let id = self.id.as_str().as_bytes();
            file.extend_from_slice(&(id.len() as u16).to_le_bytes());
            file.extend_from_slice(id);
            file.resize(start + PAGE, 0);
            let crc = checksum(tag, start as u64, &file[start..], CRC_AT);
            file[start + CRC_AT..start + CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        }
        file
    }

    /// Takes `file` for an identity file if one of its pages verifies.
    #[must_use]
    pub fn decode(file: &[u8]) -> Option<Identity> {
        if file.len() > IDENTITY_LEN {
            return None;
        }
        Identity::copies(file).into_iter().flatten().next()
    }

    /// What each of the two pages of `file` says, as far as it verifies: for a look at a damaged file.
    #[must_use]
    pub fn copies(file: &[u8]) -> [Option<Identity>; 2] {
        [0, PAGE].map(|start| decode_page(file.get(start..start + PAGE)?, start as u64))
    }
}

fn decode_page(page: &[u8], offset: u64) -> Option<Identity> {
    let mut r = Reader::new(page);
    if r.array()? != MAGIC {
        return None;
    }
    let tag = r.u64()?;
    if checksum(tag, offset, page, CRC_AT) != r.u32()? || r.u32()? != SPACE_LEVEL {
        return None;
    }
    let uid = SpaceUid(r.array()?);
    let created_ms = r.u64()?;
    let id_len = usize::from(r.u16()?);
    if id_len > SPACE_ID_MAX || tag != identity_tag(uid, NO_FILE, Piece::Identity) {
        return None;
    }
    let id = SpaceId::from_bytes(r.bytes(id_len)?).ok()?;
    is_zero(r.rest()).then_some(Identity { id, uid, created_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Identity {
        Identity { id: SpaceId::new("Ä b").unwrap(), uid: SpaceUid([9; 16]), created_ms: 1234 }
    }

    #[test]
    fn an_identity_round_trips_and_one_whole_page_is_enough() {
        let file = sample().encode();
        assert_eq!(file.len(), IDENTITY_LEN);
        assert_eq!(Identity::decode(&file), Some(sample()));
        assert_eq!(Identity::decode(&file[..PAGE]), Some(sample()), "cut short");
        for copy in 0..2 {
            let mut torn = file.clone();
            torn[copy * PAGE + 20] ^= 1;
            assert_eq!(Identity::decode(&torn), Some(sample()));
        }
    }

    #[test]
    fn a_flipped_bit_in_both_pages_is_noticed_wherever_it_is() {
        let file = sample().encode();
        for bit in 0..PAGE * 8 {
            let mut other = file.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            other[PAGE + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Identity::decode(&other), None, "bit {bit}");
        }
        assert_eq!(Identity::decode(&[]), None);
    }
}
