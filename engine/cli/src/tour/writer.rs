//! The child of the tour: writes to every space from several threads until it is killed.
use super::SPACES;
use crate::ack_log;
use crate::failure::Failure;
use crate::settings::Settings;
use bulkhead::blocking::{Engine, Space};
use bulkhead::ids::stable_hash;
use bulkhead::{Durability, SpaceId};
use std::io::Write;

/// Threads that write to one space, so that the kill comes in the middle of something.
pub const THREADS: usize = 4;

/// Writes, and says a line for each write after its acknowledgement. Ends only by an error or a kill.
pub fn write_until_killed(settings: &Settings) -> Result<(), Failure> {
    let engine = Engine::open(&settings.data_root, settings.options.clone())?;
    let mut spaces = Vec::new();
    for name in SPACES {
        let id = SpaceId::new(name).map_err(Failure::failed)?;
        spaces.push(engine.get_or_create_space(&id)?);
    }
    std::thread::scope(|scope| {
        let mut writers = Vec::new();
        for space in &spaces {
            for thread in 0..THREADS {
                writers.push(scope.spawn(move || write(space, thread)));
            }
        }
        for writer in writers {
            writer.join().expect("a writer does not panic")?;
        }
        Ok(())
    })
}

fn write(space: &Space, thread: usize) -> Result<(), Failure> {
    for n in 0_u64.. {
        let key = format!("writer-{thread}/{n:06}");
        let commit = space.put_commit(&key, value(space.id(), key.as_bytes()))?;
        commit.durable(Durability::Power)?;
        let line = ack_log::line(space.id(), key.as_bytes());
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(line.as_bytes())?;
        stdout.flush()?;
    }
    Ok(())
}

/// The value of `key` in `space`: text of 100 to 2100 bytes that no other key and no other space has.
pub fn value(space: &SpaceId, key: &[u8]) -> Vec<u8> {
    let mut text = format!("{space}: ").into_bytes();
    text.extend_from_slice(key);
    text.push(b' ');
    let len = 100 + usize::try_from(stable_hash(&text) % 2000).expect("less than 2000");
    text.iter().copied().cycle().take(len).collect()
}
