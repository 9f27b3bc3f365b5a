//! A run is data: options, faults, spaces, and a list of steps. Drawing, executing, replaying and the repro corpus
//! share it.
use bulkhead::{Config, Durability, Options, SpaceId};
use bulkhead_fault_injection::{DirProfile, FaultPlan};
use serde::{Deserialize, Serialize};
use std::ops::{Bound, RangeBounds};

/// Everything that a run depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Seed of every keyed decision of the world.
    pub seed: u64,
    /// How directory changes survive a power cut.
    pub profile: DirProfile,
    /// The engine's options, but for the reserve.
    pub options: Options,
    /// Bytes of the reserve for deletes; with none the disk has no end. Apart from the options, so that runs that were kept
    /// from before there was one have none.
    #[serde(default)]
    pub reserve_bytes: u64,
    /// Clients begin this long after their boot at the earliest, whatever the engine found while it opened: in pairs, where
    /// that differs.
    #[serde(default)]
    pub settle_us: u64,
    /// Which faults strike, whom and how often; classes that are errors rest while a window is closed.
    pub faults: FaultPlan,
    /// The spaces; steps name them by their place here.
    pub spaces: Vec<SpaceId>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// One thing that happens. The steps behind a [`Step::Boot`] belong to that boot: each client does its own in order,
/// all clients at the same time, until the boot ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The machine starts and opens the engine.
    Boot(Boot),
    /// A client does something with its space.
    Client { space: u16, client: u8, op: Op },
    /// This long after the previous window of this boot, errors begin or cease to strike.
    Window { after_us: u64, errors: Errors },
    /// This long after the previous one of this boot, somebody else fills the disk but for `room` bytes, or empties it.
    Disk { after_us: u64, room: Option<u64> },
}

/// Whether the classes of faults that are errors strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Errors {
    Strike,
    Rest,
}

/// One boot, from the opening of the engine to a crash or a clean close.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// How it ends.
    pub end: End,
    /// How its spaces are opened.
    pub opening: Opening,
    /// Damage done to bytes at rest before it starts.
    #[serde(default)]
    pub damage: Vec<Damage>,
    /// What is done about spaces that cannot be opened.
    #[serde(default)]
    pub repair: Repair,
    /// Files that are not ours, put there before it starts.
    #[serde(default)]
    pub junk: Vec<Junk>,
}

/// How a boot ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The engine is closed once all clients are done.
    Close,
    /// A crash, at the latest when all clients are done.
    Crash { at: At, how: How },
}

/// When a crash comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum At {
    /// At the k-th I/O operation of the boot.
    Io(u64),
    /// This many microseconds after the boot, whether or not the clients are done.
    Micros(u64),
}

/// What kind of crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    Power,
    Kill,
}

/// How the spaces are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opening {
    /// All at once, by `recover_all`, before any client starts.
    RecoverAll,
    /// Each by the first client that touches it.
    Lazily,
}

/// A sector of a space's files that goes bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    pub space: u16,
    pub what: DamageKind,
}

/// How it goes bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamageKind {
    /// Its bytes change (F17).
    Rots,
    /// It cannot be read any more (F16).
    Dies,
    /// The log's newest segment holds what the next space's newest segment holds, as after a write that went astray
    /// or a backup restored to the wrong place.
    GoesAstray,
    /// Bytes of a sector of its log change.
    RotsInLog,
    /// Both copies of its identity are gone.
    LosesIdentity,
    /// All of its newest manifest is gone.
    LosesManifest,
    /// A segment that its manifest lists is missing (F20).
    LosesSegment,
    /// A table that its manifest names is missing.
    LosesTable,
    /// A sector of one copy in `.engine` cannot be read any more, whatever space it is said of.
    RootDies,
}

/// What somebody does about a space that cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// It is left as it is.
    #[default]
    Never,
    /// It is repaired, and used from then on.
    Ordered,
    /// It is repaired, and the machine crashes at the space's k-th I/O operation after the order.
    CutShort { k: u64 },
}

/// Where something that is not ours lies (F21).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Junk {
    RootFile,
    RootDir,
    RootSymlink,
    InSpace(u16),
    InLog(u16),
}

/// What a client does. Keys are numbers; values are named by the commit that wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    Put {
        key: u16,
        len: u32,
        #[serde(default)]
        priority: i32,
        wait: Wait,
    },
    Delete {
        key: u16,
        wait: Wait,
    },
    Batch {
        items: Vec<Item>,
        wait: Wait,
    },
    /// Deletes the keys between two, in the order of their bytes: see [`stretch`].
    DeleteRange {
        from: u16,
        to: u16,
        wait: Wait,
    },
    Clear {
        wait: Wait,
    },
    /// A put that is to be refused unless the key is as expected; whether it is, is up to `guess`.
    PutIf {
        key: u16,
        len: u32,
        guess: Guess,
    },
    /// A put whose future is dropped after so many polls.
    Abandon {
        key: u16,
        len: u32,
        polls: u8,
    },
    Get {
        key: u16,
    },
    MultiGet {
        keys: Vec<u16>,
    },
    Scan {
        from: u16,
        to: u16,
        backwards: bool,
    },
    ScanPrefix {
        group: u8,
        backwards: bool,
    },
    /// Takes a snapshot and keeps it.
    Snapshot,
    /// Takes a durable snapshot and keeps it.
    DurableSnapshot,
    /// Compares the oldest snapshot kept with what it showed first, and drops it.
    Compare,
    Flush {
        durability: Durability,
    },
    /// Gets rid of what is not needed.
    Compact,
    /// Waits for the tickets that this client did not wait for yet.
    Await {
        durability: Durability,
    },
    /// Asks what became of the latest commits.
    Outcome,
    /// Ends this opening of the space and opens it anew.
    Reopen,
    /// Ends the opening; the next operation opens the space again.
    Shutdown,
    /// Tries to create what is there already.
    CreateAgain,
    /// Deletes the space.
    DeleteSpace {
        then: Then,
    },
    /// Does nothing for a while: flush intervals and idle seals come.
    Pause {
        ms: u16,
    },
}

/// What follows a call that deletes a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// Whatever this client does next.
    GoOn,
    /// The space is made anew at once.
    Create,
    /// It is deleted once more.
    DeleteAgain,
    /// The call itself is dropped after so many polls.
    Abandon(u8),
}

/// Whether a precondition is meant to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guess {
    Right,
    Wrong,
}

/// One operation of a batch; no length is a delete, with another key one of a range: see [`stretch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub key: u16,
    pub len: Option<u32>,
    #[serde(default)]
    pub priority: i32,
    #[serde(default)]
    pub to: Option<u16>,
}

/// What a write waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// Nothing; the ticket is kept.
    Later,
    Process,
    Power,
    /// Whatever the convenience call is configured to wait for.
    Configured,
}

impl Run {
    /// Whether it can be executed at all: drawn runs can, files may say anything.
    ///
    /// # Errors
    /// What is wrong, with the name of the field first.
    pub fn check(&self) -> Result<(), String> {
        if self.spaces.is_empty() {
            return Err("spaces: expected one at least".to_owned());
        }
        if let Some(twice) = (1..self.spaces.len()).find(|i| self.spaces[..*i].contains(&self.spaces[*i])) {
            return Err(format!("spaces[{twice}]: {:?} is there already", self.spaces[twice]));
        }
        let options = Options { reserve_bytes: self.reserve_bytes, ..self.options.clone() };
        Config::new(options).map_err(|e| format!("options: {e}"))?;
        if !matches!(self.steps.first(), Some(Step::Boot(_))) {
            return Err("steps[0]: expected a boot".to_owned());
        }
        for (i, step) in self.steps.iter().enumerate() {
            let found = match step {
                Step::Client { space, .. } => Some(("client.space", *space)).filter(|s| !self.has(s.1)),
                Step::Boot(boot) => self.misplaced(boot),
                Step::Window { .. } | Step::Disk { .. } => None,
            };
            if let Some((field, space)) = found {
                let last = self.spaces.len() - 1;
                return Err(format!("steps[{i}].{field}: {space}; expected 0..={last}, a place in spaces"));
            }
        }
        Ok(())
    }

    fn has(&self, space: u16) -> bool {
        usize::from(space) < self.spaces.len()
    }

    /// A field of `boot` that names a space that is not there.
    fn misplaced(&self, boot: &Boot) -> Option<(&'static str, u16)> {
        let damage = boot.damage.iter().map(|damage| ("boot.damage", damage.space));
        let junk = boot.junk.iter().filter_map(|junk| match junk {
            Junk::InSpace(space) | Junk::InLog(space) => Some(("boot.junk", *space)),
            Junk::RootFile | Junk::RootDir | Junk::RootSymlink => None,
        });
        damage.chain(junk).find(|(_, space)| !self.has(*space))
    }

    /// The boots, each with its steps.
    pub fn boots(&self) -> impl Iterator<Item = (&Boot, &[Step])> {
        let starts = self.steps.iter().enumerate().filter(|(_, s)| matches!(s, Step::Boot(_)));
        starts.map(|(i, step)| {
            let Step::Boot(boot) = step else { unreachable!("filtered") };
            let rest = &self.steps[i + 1..];
            let len = rest.iter().position(|s| matches!(s, Step::Boot(_))).unwrap_or(rest.len());
            (boot, &rest[..len])
        })
    }
}

/// Key and length of the put that every space is given in the quiet phase.
pub const PUT_IN_PEACE: (u16, u32) = (1, 40);

/// Groups that keys are in, by prefix.
pub const KEY_GROUPS: u8 = 5;

/// Length of the keys that are long.
const LONG_KEY: usize = 300;

fn is_long(key: u16) -> bool {
    key % 13 == 5
}

/// The bytes of a key: its group, then its number; some are long.
#[must_use]
pub fn key_bytes(key: u16) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key_len(key) as usize);
    put_prefix(&mut bytes, (key % u16::from(KEY_GROUPS)) as u8);
    bytes.extend([10_000, 1000, 100, 10, 1].map(|unit| b'0' + (key / unit % 10) as u8));
    if is_long(key) {
        bytes.resize(LONG_KEY, b'.');
    }
    bytes
}

/// How many they are.
#[must_use]
pub fn key_len(key: u16) -> u64 {
    let group = key % u16::from(KEY_GROUPS);
    let prefix = if group == 0 || group == u16::from(KEY_GROUPS) - 1 { 2 } else { 3 };
    if is_long(key) { LONG_KEY as u64 } else { prefix + 5 }
}

/// The prefix of a group's keys. The first and the last group lie at the very ends of all keys that there can be.
#[must_use]
pub fn group_prefix(group: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_prefix(&mut bytes, group);
    bytes
}

fn put_prefix(bytes: &mut Vec<u8>, group: u8) {
    match group {
        0 => bytes.extend([0, 0]),
        g if g == KEY_GROUPS - 1 => bytes.extend([255, 255]),
        g => bytes.extend([b'g', b'0' + g, b'/']),
    }
}

/// Bounds of a range of keys.
pub type Stretch = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The range that is meant by two keys: in the order of their bytes, never empty; which kinds of bounds it has is up to
/// them.
#[must_use]
pub fn stretch(a: u16, b: u16) -> Stretch {
    let (a_bytes, b_bytes) = (key_bytes(a), key_bytes(b));
    let (low, high) = if a_bytes <= b_bytes { (a_bytes, b_bytes) } else { (b_bytes, a_bytes) };
    match (u32::from(a) + u32::from(b)) % 8 {
        0 | 1 if low != high => (Bound::Included(low), Bound::Excluded(high)),
        2 if low != high => (Bound::Excluded(low), Bound::Included(high)),
        3 => (Bound::Included(low), Bound::Unbounded),
        4 => (Bound::Unbounded, Bound::Included(high)),
        _ => (Bound::Included(low), Bound::Included(high)),
    }
}

/// Whether the key of number `key` lies in `stretch`.
#[must_use]
pub fn lies_in(key: u16, stretch: &Stretch) -> bool {
    stretch.contains(&key_bytes(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_their_group_and_number_and_as_long_as_said() {
        for key in 0..=u16::MAX {
            let bytes = key_bytes(key);
            assert_eq!(bytes.len() as u64, key_len(key), "{key}");
            let number = bytes.strip_prefix(&*group_prefix((key % 5) as u8)).map(|rest| &rest[..5]);
            assert_eq!(number, Some(format!("{key:05}").as_bytes()));
        }
        assert_eq!(group_prefix(1), b"g1/");
    }
}
