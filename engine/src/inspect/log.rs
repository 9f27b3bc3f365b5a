//! Log segments: every frame with its operations, and what lies behind the last one.
//!
//! Behind the chain of frames lies unwritten space (zeros), a torn tail (bytes that are no frame), or stale frames (they
//! verify, and do not continue the chain). Without the manifest nobody can say whether more should be there; what frames
//! further on state to be durable is told.
use super::{Fact, Inspector, Pass};
use crate::codec::Reader;
use crate::ids::Lsn;
use crate::limits::{PAGE, TABLE_CHUNK};
use crate::wal::frame::{FRAME_ALIGN, FRAME_HEADER, Frame, FrameKind, Place};
use crate::wal::operation::{Operation, decode_commit};
use crate::wal::scan::{Boundary, last_nonzero};
use crate::wal::segment::{SEGMENT_HEADER, claimed_id, verify_header};
use bytes::Bytes;

/// Whether the first frame verifies: then only the header is damaged.
pub(super) fn recognise<I: Inspector>(pass: &mut Pass<'_, I>) -> Result<bool, I::Error> {
    let Some(tag) = first_tag(pass)? else { return Ok(false) };
    let bytes = frame_bytes(pass, SEGMENT_HEADER)?;
    Ok(Frame::verify(&bytes, Place { tag, offset: SEGMENT_HEADER }).is_some())
}

fn first_tag<I: Inspector>(pass: &mut Pass<'_, I>) -> Result<Option<u64>, I::Error> {
    let bytes = pass.bytes(SEGMENT_HEADER, 8)?;
    Ok(Reader::new(&bytes).u64().filter(|&tag| tag != 0))
}

/// The bytes at `offset` that a frame there would have.
fn frame_bytes<I: Inspector>(pass: &mut Pass<'_, I>, offset: u64) -> Result<Bytes, I::Error> {
    let head = pass.bytes(offset, FRAME_HEADER)?;
    match Frame::stated_len(&head) {
        Some(len) if len as u64 <= pass.len.saturating_sub(offset) => pass.bytes(offset, len),
        _ => Ok(Bytes::new()),
    }
}

pub(super) fn segment<I: Inspector>(pass: &mut Pass<'_, I>) -> Result<(), I::Error> {
    let page = pass.bytes(0, PAGE)?;
    let header = claimed_id(&page).and_then(|id| verify_header(&page, id));
    let (tag, chain) = match header {
        Some(h) => {
            let fact = Fact::new(0, "segment").text("number", h.id.number).text("file", h.id.file);
            let fact = fact.text("space", h.id.space).number("epoch", u64::from(h.epoch.raw()));
            pass.say(&fact.number("allocated", h.allocated))?;
            if pass.len < h.allocated {
                let expected = format!("a file of at least {} bytes", h.allocated);
                pass.damage(pass.len, "the end", &expected)?;
            }
            (h.id.frame_tag(), Some(h.crc))
        }
        None => {
            pass.damage(0, "the header", "a page that verifies")?;
            let Some(tag) = first_tag(pass)? else { return Ok(()) };
            (tag, None)
        }
    };
    let mut end = Boundary { offset: SEGMENT_HEADER, last: Lsn::ZERO, chain: chain.unwrap_or(0) };
    let mut first = true;
    loop {
        let bytes = frame_bytes(pass, end.offset)?;
        let Some(frame) = Frame::verify(&bytes, Place { tag, offset: end.offset }) else { break };
        if first && chain.is_none() {
            end.chain = frame.head().prev;
        }
        if !end.is_continued_by(&frame, first) {
            break;
        }
        tell(pass, end.offset, &frame)?;
        end = end.behind(&frame);
        first = false;
    }
    behind(pass, tag, end)
}

fn tell<I: Inspector>(pass: &mut Pass<'_, I>, offset: u64, frame: &Frame<'_>) -> Result<(), I::Error> {
    let head = frame.head();
    let what = match head.kind {
        FrameKind::Commits => "commits",
        FrameKind::Link => "link",
        FrameKind::Seal => "seal",
        FrameKind::Pad => "pad",
    };
    let fact = Fact::new(offset, what).number("length", frame.len() as u64).text("lsn", head.first);
    let fact = fact.text("durable", head.durable).number("commits", u64::from(head.count));
    pass.say(&match frame.link() {
        Some(link) => match link.file {
            Some(file) => fact.text("behind", file).number("ended_at", link.len),
            None => fact,
        },
        None => fact,
    })?;
    let mut r = Reader::new(frame.body());
    for i in 0..head.count {
        let lsn = head.first.advance(u64::from(i));
        let mut said = Ok(());
        let read = decode_commit(&mut r, |operation| {
            if said.is_ok() {
                said = pass.say(&of_operation(offset, lsn, operation));
            }
        });
        said?;
        if read.is_none() {
            return pass.damage(offset, "a commit", "operations of their format");
        }
    }
    Ok(())
}

fn of_operation(offset: u64, lsn: Lsn, operation: Operation<'_>) -> Fact {
    match operation {
        Operation::Put { key, value, priority } => Fact::new(offset, "put")
            .text("lsn", lsn)
            .key("key", key)
            .number("value_length", value.len() as u64)
            .priority(priority),
        Operation::Delete { key } => Fact::new(offset, "delete").text("lsn", lsn).key("key", key),
        Operation::DeleteRange { start, end } => {
            Fact::new(offset, "delete-range").text("lsn", lsn).key("from", start).bound("to", end)
        }
    }
}

/// Tells what lies behind the chain, which ends at `end`.
fn behind<I: Inspector>(pass: &mut Pass<'_, I>, tag: u64, end: Boundary) -> Result<(), I::Error> {
    let (mut at, mut last) = (end.offset, None);
    let (mut stale, mut durable) = (0, Lsn::ZERO);
    while at < pass.len {
        let chunk = pass.bytes(at, TABLE_CHUNK)?;
        if chunk.is_empty() {
            break;
        }
        last = last_nonzero(&chunk).map(|i| at + i as u64).or(last);
        let words = chunk.chunks_exact(FRAME_ALIGN).enumerate();
        let places = words.filter(|(_, word)| Reader::new(word).u64() == Some(tag));
        for place in places.map(|(i, _)| at + (i * FRAME_ALIGN) as u64).collect::<Vec<_>>() {
            let bytes = frame_bytes(pass, place)?;
            if let Some(frame) = Frame::verify(&bytes, Place { tag, offset: place }) {
                stale += 1;
                durable = durable.max(frame.seal().unwrap_or(Lsn::ZERO)).max(frame.head().durable);
                tell(pass, place, &frame)?;
            }
        }
        at += chunk.len() as u64;
    }
    let Some(last) = last else {
        return pass
            .say(&Fact::new(end.offset, "unwritten").number("length", pass.len.saturating_sub(end.offset)));
    };
    let what = if stale > 0 { "stale frames" } else { "a torn tail" };
    pass.say(
        &Fact::new(end.offset, what)
            .number("length", last + 1 - end.offset)
            .number("frames", stale)
            .text("durable", durable),
    )?;
    let expected = match durable > end.last {
        true => format!("commits up to {durable}, which a later frame says are durable"),
        false => "the next frame, or zeros; a crash may leave this".into(),
    };
    pass.damage(end.offset, "the next frame", &expected)
}
