//! Which faults may strike whom and how often, and how often they did.
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $code:literal, $name:literal;)*) => {
        /// The named classes of faults, numbered as in the fault model.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum FaultKind {
            $($(#[$doc])* #[serde(rename = $name)] $kind,)*
        }

        impl FaultKind {
            /// Every class.
            pub const ALL: &[FaultKind] = &[$(FaultKind::$kind),*];

            /// The name, as in reports and repro files.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(FaultKind::$kind => $name,)* }
            }

            /// Never changes, whatever is added: decisions are keyed by it.
            pub(crate) fn code(self) -> u64 {
                match self { $(FaultKind::$kind => $code,)* }
            }
        }
    };
}

kinds! {
    /// A power cut loses unsynced writes: all of a file's, or those after some point.
    F01LostTail = 1, "F01-lost-tail";
    /// A power cut keeps a later write and loses an earlier one.
    F02Reorder = 2, "F02-reorder";
    /// A power cut keeps a file's growth but not the bytes: they read as zero.
    F03SizeWithoutData = 3, "F03-size-without-data";
    /// A power cut loses a created or renamed name.
    F04NameLost = 4, "F04-name-lost";
    /// A power cut brings a removed name back.
    F05UnlinkUndone = 5, "F05-unlink-undone";
    /// A power cut loses a write inside space that was allocated and synced before: it reads as zero, not as the end.
    F06AllocatedZeros = 6, "F06-allocated-zeros";
    /// A file's sync fails once; the unsynced bytes are marked clean, still read, and are not on the disk.
    F09SyncEio = 9, "F09-sync-eio";
    /// As F09, for a directory; from then on that directory refuses every change until the power is cut. One more sync
    /// of it, in the same boot, may say Ok, which means nothing.
    F09DirSyncEio = 109, "F09-dir-sync-eio";
    /// As F09, but reads return the old bytes from then on.
    F10SyncEioRevert = 10, "F10-sync-eio-revert";
    /// A write fails with any prefix of it applied.
    F12WriteEio = 12, "F12-write-eio";
    /// No space for a write (any prefix applied), an allocation, or a new name (nothing changed).
    F13NoSpace = 13, "F13-no-space";
    /// No space noticed at a file's sync, which else behaves as F09.
    F13SyncNoSpace = 113, "F13-sync-no-space";
    /// A read fails once.
    F16ReadEio = 16, "F16-read-eio";
    /// A sector cannot be read any more until it is written again.
    F16SectorDead = 116, "F16-sector-dead";
    /// Synced bytes rot: a flipped bit, a zeroed sector, two sectors swapped. Struck by [`crate::World::rot`] alone.
    F17Rot = 17, "F17-rot";
    /// A file that is not ours lies in a directory. Struck by [`crate::World::inject_file`] alone.
    F21Junk = 21, "F21-junk";
    /// An operation takes a hundred times as long as others.
    F23Stall = 23, "F23-stall";
}

impl FaultKind {
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Whether it is a way in which a power cut treats unsynced changes; these happen at every power cut unless
    /// switched off.
    #[must_use]
    pub fn is_crash_effect(self) -> bool {
        matches!(
            self,
            FaultKind::F01LostTail
                | FaultKind::F02Reorder
                | FaultKind::F03SizeWithoutData
                | FaultKind::F04NameLost
                | FaultKind::F05UnlinkUndone
                | FaultKind::F06AllocatedZeros
        )
    }
}

/// How often one class strikes, and whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRule {
    /// How many of 100,000 opportunities.
    pub per_100k: u32,
    /// Only these owners; everybody if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<BTreeSet<u64>>,
    /// Whether it strikes from the start; see [`crate::World::set_enabled`].
    pub enabled: bool,
}

impl FaultRule {
    /// Strikes everybody from the start.
    #[must_use]
    pub fn rate(per_100k: u32) -> FaultRule {
        FaultRule { per_100k, owners: None, enabled: true }
    }

    /// The same for these owners only.
    #[must_use]
    pub fn only(mut self, owners: impl IntoIterator<Item = u64>) -> FaultRule {
        self.owners = Some(owners.into_iter().collect());
        self
    }

    fn rate_for(&self, owner: u64) -> u32 {
        let concerned = self.enabled && self.owners.as_ref().is_none_or(|o| o.contains(&owner));
        if concerned { self.per_100k } else { 0 }
    }
}

/// The rules of a run, by class. A class without a rule never strikes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FaultPlan(pub BTreeMap<FaultKind, FaultRule>);

impl FaultPlan {
    /// A disk on which nothing ever fails and whose power cuts lose nothing.
    #[must_use]
    pub fn benign() -> FaultPlan {
        FaultPlan(BTreeMap::new())
    }

    /// A disk on which nothing fails, and whose power cuts do all they may.
    #[must_use]
    pub fn crashes_only() -> FaultPlan {
        let kinds = FaultKind::ALL.iter().filter(|k| k.is_crash_effect());
        FaultPlan(kinds.map(|k| (*k, FaultRule::rate(100_000))).collect())
    }

    /// The same with a rule added or replaced.
    #[must_use]
    pub fn with(mut self, kind: FaultKind, rule: FaultRule) -> FaultPlan {
        self.0.insert(kind, rule);
        self
    }

    /// The same without a class.
    #[must_use]
    pub fn without(mut self, kind: FaultKind) -> FaultPlan {
        self.0.remove(&kind);
        self
    }
}

impl Default for FaultPlan {
    fn default() -> FaultPlan {
        FaultPlan::crashes_only()
    }
}

/// How often a class was decided and how often that mattered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Decided: errors, sectors, names.
    pub drawn: u64,
    /// Had effect: an error was delivered to somebody who waited for it, a lost or damaged sector was read, a lost or
    /// resurrected name was looked at.
    pub effective: u64,
}

/// The plan in the form that is asked at every operation, with the tallies.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    rules: Vec<Option<FaultRule>>,
    tallies: Vec<Tally>,
}

impl Faults {
    pub(crate) fn new(plan: &FaultPlan) -> Faults {
        let rules = FaultKind::ALL.iter().map(|k| plan.0.get(k).cloned()).collect();
        Faults { rules, tallies: vec![Tally::default(); FaultKind::ALL.len()] }
    }

    /// How many of 100,000 opportunities of this owner; 0 in a window without faults.
    pub(crate) fn rate(&self, kind: FaultKind, owner: u64) -> u32 {
        self.rules[kind.index()].as_ref().map_or(0, |rule| rule.rate_for(owner))
    }

    pub(crate) fn set_plan(&mut self, plan: &FaultPlan) {
        self.rules = Faults::new(plan).rules;
    }

    pub(crate) fn set_enabled(&mut self, kind: FaultKind, enabled: bool) {
        if let Some(rule) = &mut self.rules[kind.index()] {
            rule.enabled = enabled;
        }
    }

    pub(crate) fn drawn(&mut self, kind: FaultKind, times: u64) {
        self.tallies[kind.index()].drawn += times;
    }

    pub(crate) fn effective(&mut self, kind: FaultKind, times: u64) {
        self.tallies[kind.index()].effective += times;
    }

    pub(crate) fn tallies(&self) -> BTreeMap<FaultKind, Tally> {
        FaultKind::ALL.iter().map(|k| (*k, self.tallies[k.index()])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_json_and_rules_choose_whom_they_strike() {
        let plan = FaultPlan::default()
            .with(FaultKind::F09SyncEio, FaultRule::rate(500).only([7]))
            .without(FaultKind::F05UnlinkUndone);
        let json = serde_json::to_string(&plan).unwrap();
        assert!(json.contains("\"F09-sync-eio\""), "{json}");
        assert_eq!(plan, serde_json::from_str(&json).unwrap());

        let mut faults = Faults::new(&plan);
        assert_eq!(faults.rate(FaultKind::F09SyncEio, 7), 500);
        assert_eq!(faults.rate(FaultKind::F09SyncEio, 8), 0);
        assert_eq!(faults.rate(FaultKind::F05UnlinkUndone, 7), 0);
        faults.set_enabled(FaultKind::F09SyncEio, false);
        assert_eq!(faults.rate(FaultKind::F09SyncEio, 7), 0);
        faults.set_enabled(FaultKind::F09SyncEio, true);
        assert_eq!(faults.rate(FaultKind::F09SyncEio, 7), 500);
    }

    #[test]
    fn codes_are_unique() {
        let codes: BTreeSet<u64> = FaultKind::ALL.iter().map(|k| k.code()).collect();
        assert_eq!(codes.len(), FaultKind::ALL.len());
    }
}
