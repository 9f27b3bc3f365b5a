//! The rules, asked at every event of a trace. Each complaint cites what an acknowledgement or a later step relied on
//! and what a power cut could have taken from under it.
use super::disk::{Disk, Node};
use super::trace::{Call, Event, Trace};
use bulkhead::Lsn;
use bulkhead::manifest::{Manifest, ManifestName, decode};
use bulkhead::wal::segment::SegmentId;
use std::collections::BTreeMap;

const HEADER: u64 = 4096;
const SECTOR: u64 = 512;

/// Where a commit's frame stands.
#[derive(Debug, Clone, Copy)]
struct At {
    segment: Node,
    write: usize,
    end: u64,
}

/// What is known of one space's log.
#[derive(Debug, Default)]
struct Log {
    /// Every place of every commit: recovery copies some.
    commits: BTreeMap<Lsn, Vec<At>>,
    /// The segment file that each node was created as, by name.
    names: BTreeMap<Node, String>,
    sealed: Option<(Node, usize)>,
}

/// See the module.
pub struct Checker<'a> {
    base: &'a str,
    root: String,
    disk: Disk,
    logs: BTreeMap<String, Log>,
    pub complaints: Vec<String>,
}

/// A frame as it stands in a write: the fields that the rules ask for.
struct Frame {
    end: u64,
    kind: u8,
    count: u32,
    first: Lsn,
    durable: Lsn,
}

const COMMITS: u8 = 1;
const LINK: u8 = 2;
const SEAL: u8 = 3;

fn frames(offset: u64, bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut at = (HEADER.saturating_sub(offset)) as usize;
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let lsn_at = |at: usize| Lsn::from_raw(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()));
    while at + 48 <= bytes.len() && u32_at(at + 12) != 0 {
        let end = at + u32_at(at + 12) as usize;
        frames.push(Frame {
            end: offset + end as u64,
            kind: bytes[at + 16],
            count: u32_at(at + 20),
            first: lsn_at(at + 24),
            durable: lsn_at(at + 32),
        });
        at = end;
    }
    frames
}

/// Runs the rules over `trace` as if the sync `without` had never been called. The data root is `root`; `base` is the
/// directory above it that was there before.
pub fn check<'a>(trace: &Trace, base: &'a str, root: &str, without: Option<usize>) -> Checker<'a> {
    let disk = Disk::new(base);
    let mut checker =
        Checker { base, root: root.to_owned(), disk, logs: BTreeMap::new(), complaints: Vec::new() };
    for event in &trace.events {
        if let Event::Begun(call) = *event
            && Some(call) != without
        {
            checker.before(&trace.calls[call]);
        }
        checker.disk.take(trace, *event, without);
        if let Event::Begun(call) = *event {
            checker.after(&trace.calls[call]);
        }
    }
    checker
}

impl Checker<'_> {
    fn demand(&mut self, holds: bool, complaint: impl FnOnce() -> String) {
        if !holds {
            self.complaints.push(complaint());
        }
    }

    /// The space, or the directory that becomes or was one, and the rest of a path below it.
    fn of_space<'p>(&self, path: &'p str) -> Option<(&'p str, &'p str)> {
        path.strip_prefix(&self.root)?.strip_prefix('/')?.split_once('/')
    }

    fn before(&mut self, call: &Call) {
        match call {
            Call::Write { path, offset, bytes } => {
                let Some((space, file)) = self.of_space(path) else { return };
                let (space, file) = (space.to_owned(), file.to_owned());
                if let Some(name) = ManifestName::parse(&file) {
                    let manifest =
                        decode(bytes, name, None).expect("a manifest is written at once and verifies");
                    self.manifest_is_written(&space, &manifest);
                } else if file.starts_with("wal/") && *offset + bytes.len() as u64 > HEADER {
                    self.log_is_written(&space, path, *offset, bytes);
                }
            }
            Call::Create(path) => {
                let Some((space, file)) = self.of_space(path) else { return };
                if ManifestName::parse(file).is_some() {
                    let space = space.to_owned();
                    self.quarantine_is_safe(&space);
                    // The former switch of this process must have ended.
                    let gone = self.disk.unsynced_removals(&format!("{}/{space}", self.root));
                    let none = !gone.iter().any(|name| ManifestName::parse(name).is_some());
                    self.demand(none, || format!("{path} is made while {gone:?} may come back"));
                }
            }
            Call::Unlink(path) => self.before_unlink(path),
            Call::Mark(mark) => self.acknowledged(mark),
            _ => {}
        }
    }

    fn after(&mut self, call: &Call) {
        match call {
            Call::Create(path) => {
                if let Some((space, file)) = self.of_space(path)
                    && let Some(name) = file.strip_prefix("wal/")
                    && let Some(node) = self.disk.node(path)
                {
                    self.logs.entry(space.to_owned()).or_default().names.insert(node, name.to_owned());
                }
            }
            Call::Write { path, offset, bytes } if *offset + bytes.len() as u64 > HEADER => {
                let Some((space, _)) = self.of_space(path).filter(|(_, file)| file.starts_with("wal/"))
                else {
                    return;
                };
                let Some(segment) = self.disk.node(path) else { return };
                let write = self.disk.writes(segment).len() - 1;
                let log = self.logs.entry(space.to_owned()).or_default();
                for frame in frames(*offset, bytes) {
                    for i in 0..u64::from(frame.count) {
                        let at = At { segment, write, end: frame.end };
                        log.commits.entry(frame.first.advance(i)).or_default().push(at);
                    }
                    log.sealed = (frame.kind == SEAL).then_some((segment, write));
                }
            }
            _ => {}
        }
    }

    /// Every manifest that may be there after a power cut, with whether it is certain to be.
    fn manifests(&self, space: &str) -> Vec<(Manifest, bool)> {
        let dir = format!("{}/{space}", self.root);
        let mut found = Vec::new();
        for (name, node) in self.disk.possible(&dir) {
            let Some(parsed) = ManifestName::parse(&name) else { continue };
            if let Some(manifest) = decode(&self.disk.content(node), parsed, None) {
                let path = format!("{dir}/{name}");
                found.push((manifest, self.disk.is_durable_name(&path) && self.disk.is_synced(node)));
            }
        }
        found
    }

    /// Why `lsn` could be gone after a power cut that leaves one of `manifests`.
    fn not_durable(&self, space: &str, lsn: Lsn, manifests: &[(Manifest, bool)]) -> Option<String> {
        let Some(log) = self.logs.get(space) else { return Some("the space has no log".to_owned()) };
        let Some(places) = log.commits.get(&lsn) else { return Some("it was never written".to_owned()) };
        if !manifests.iter().any(|(_, certain)| *certain) {
            return Some("no manifest is certain to be there".to_owned());
        }
        let mut why = Vec::new();
        for place in places {
            let name = &log.names[&place.segment];
            let listed = |m: &Manifest| {
                m.version.segments.iter().any(|s| {
                    let id = SegmentId { space: m.identity.uid, file: s.file, number: s.number };
                    id.file_name() == *name && s.end.is_none_or(|end| place.end <= end.len)
                })
            };
            let path = format!("{}/{space}/wal/{name}", self.root);
            if !self.disk.writes(place.segment)[place.write].durable {
                why.push(format!("its frame in {name} was not synced"));
            } else if !self.disk.is_durable_name(&path) {
                why.push(format!("the name {name} was not synced"));
            } else if let Some((m, _)) = manifests.iter().find(|(m, _)| !listed(m)) {
                why.push(format!("{} may be there and does not list {name}", m.name.file_name()));
            } else {
                return None;
            }
        }
        Some(why.join("; "))
    }

    /// Demands that every commit up to `upto` is durable.
    fn prefix_is_durable(&mut self, space: &str, upto: Lsn, what: &str) {
        let manifests = self.manifests(space);
        self.prefix_is_durable_under(space, upto, &manifests, what);
    }

    fn prefix_is_durable_under(
        &mut self,
        space: &str,
        upto: Lsn,
        manifests: &[(Manifest, bool)],
        what: &str,
    ) {
        let known: Vec<Lsn> =
            self.logs.get(space).map_or(Vec::new(), |l| l.commits.range(..=upto).map(|(l, _)| *l).collect());
        for lsn in known {
            if let Some(why) = self.not_durable(space, lsn, manifests) {
                self.complaints.push(format!("{what}: commit {lsn} of {space} could be lost: {why}"));
            }
        }
    }

    /// A manifest may become durable by chance as soon as it is written: what it lists must be there by then.
    fn manifest_is_written(&mut self, space: &str, manifest: &Manifest) {
        let name = manifest.name.file_name();
        let v = &manifest.version;
        for s in &v.segments {
            let id = SegmentId { space: manifest.identity.uid, file: s.file, number: s.number };
            let path = format!("{}/{space}/wal/{}", self.root, id.file_name());
            self.demand(self.disk.is_durable_name(&path), || {
                format!("{name} lists {path}, whose name was not synced")
            });
            let Some(node) = self.disk.node(&path) else { continue };
            let unsynced = self.disk.writes(node).iter().any(|w| {
                let head = w.bytes.is_empty() || w.offset < HEADER;
                !w.durable && (head || s.end.is_some_and(|end| w.offset < end.len))
            });
            self.demand(!unsynced, || format!("{name} lists {path}, of which not all was synced"));
        }
        // It speaks for the state in which it is the one that is there.
        let only = [(manifest.clone(), true)];
        self.prefix_is_durable_under(space, v.durable, &only, &format!("{name} calls {} durable", v.durable));
    }

    fn log_is_written(&mut self, space: &str, path: &str, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        if let Some(node) = self.disk.node(path) {
            let again = self.disk.writes(node).iter().any(|w| {
                let (from, to) = (w.offset / SECTOR, (w.offset + w.bytes.len() as u64).div_ceil(SECTOR));
                w.durable && !w.bytes.is_empty() && offset / SECTOR < to && from < end.div_ceil(SECTOR)
            });
            self.demand(!again, || format!("a synced sector of {path} is written again at {offset}"));
        }
        for frame in frames(offset, bytes) {
            let mut claims = frame.durable;
            if matches!(frame.kind, LINK | SEAL) {
                claims = claims.max(frame.first);
            }
            let kind = match frame.kind {
                COMMITS => "commits",
                LINK => "link",
                SEAL => "seal",
                _ => "pad",
            };
            self.prefix_is_durable(space, claims, &format!("a {kind} frame says that {claims} is durable"));
        }
    }

    fn quarantine_is_safe(&mut self, space: &str) {
        let dir = format!("{}/{space}/quarantine", self.root);
        for path in self.disk.names(&dir) {
            let synced = self.disk.node(&path).is_some_and(|n| self.disk.is_synced(n));
            let safe = synced && self.disk.is_reachable(self.base, &path);
            self.demand(safe, || format!("repair goes on while {path} could be lost"));
        }
    }

    fn before_unlink(&mut self, path: &str) {
        let Some((space, file)) = self.of_space(path) else { return };
        if space.starts_with('.') {
            return; // What was never a space goes without ceremony.
        }
        let (space, file) = (space.to_owned(), file.to_owned());
        let manifests = self.manifests(&space);
        if let Some(segment) = file.strip_prefix("wal/") {
            for (m, _) in &manifests {
                let lists = m.version.segments.iter().any(|s| {
                    SegmentId { space: m.identity.uid, file: s.file, number: s.number }.file_name() == segment
                });
                self.demand(!lists, || format!("{path} goes while {} may list it", m.name.file_name()));
            }
        } else if let Some(name) = ManifestName::parse(&file) {
            let next = manifests.iter().any(|(m, certain)| *certain && m.name.generation > name.generation);
            self.demand(next, || format!("{path} goes while no later manifest is certain to be there"));
        } else if file == "SPACE" {
            self.quarantine_is_safe(&space);
        }
    }

    /// The space can be found after a power cut, and all that it needs to be opened.
    fn space_is_there(&mut self, space: &str, what: &str) {
        let root = self.root.clone();
        let needed = ["SPACE", "wal", "hot", "warm", "cold"].map(|n| format!("{root}/{space}/{n}"));
        for path in needed.into_iter().chain([format!("{root}/.engine")]) {
            let synced = self.disk.node(&path).is_some_and(|n| self.disk.is_synced(n));
            self.demand(synced, || format!("{what}: {path} was not synced"));
            let there = self.disk.is_reachable(self.base, &path);
            self.demand(there, || format!("{what}: a name on the way to {path} was not synced"));
        }
        let certain = self.manifests(space).iter().any(|(_, certain)| *certain);
        self.demand(certain, || format!("{what}: no manifest is certain to be there"));
    }

    fn acknowledged(&mut self, mark: &str) {
        let words: Vec<&str> = mark.split(' ').collect();
        let lsn = |i: usize| Lsn::from_raw(words[i].parse().expect("an LSN"));
        match words[..] {
            ["opened"] => {
                let path = format!("{}/.engine", self.root);
                let synced = self.disk.node(&path).is_some_and(|n| self.disk.is_synced(n));
                let there = synced && self.disk.is_reachable(self.base, &path);
                self.demand(there, || format!("{mark}: {path} could be lost"));
            }
            ["created", space] => self.space_is_there(space, mark),
            ["power" | "read", space, _] => {
                self.space_is_there(space, mark);
                self.prefix_is_durable(space, lsn(2), mark);
                let known = lsn(2) == Lsn::ZERO
                    || self.logs.get(space).is_some_and(|l| l.commits.contains_key(&lsn(2)));
                self.demand(known, || format!("{mark}: it was never written"));
            }
            ["process", space, _] => {
                let known = self.logs.get(space).is_some_and(|l| l.commits.contains_key(&lsn(2)));
                self.demand(known, || format!("{mark}: it was never written"));
            }
            ["repaired", space, _] => {
                // What the repair gave up is no longer asked for.
                if let Some(log) = self.logs.get_mut(space) {
                    log.commits.retain(|l, _| *l <= lsn(2));
                }
                self.quarantine_is_safe(space);
                self.acknowledged(&format!("read {space} {}", words[2]));
            }
            ["closed", space] => {
                self.prefix_is_durable(space, Lsn::from_raw(u64::MAX), mark);
                let names = self.disk.unsynced_names(&format!("{}/{space}", self.root));
                self.demand(names.is_empty(), || format!("{mark}: changes of {names:?} were not synced"));
                let sealed = self.logs.get(space).and_then(|l| l.sealed);
                let seal = sealed.is_some_and(|(node, write)| self.disk.writes(node)[write].durable);
                self.demand(seal, || format!("{mark}: its log does not end in a synced seal"));
            }
            _ => panic!("an unknown mark: {mark}"),
        }
    }
}
