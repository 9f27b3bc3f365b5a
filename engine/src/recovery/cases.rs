//! What recovery decides about a log, as a table. Everything else in recovery only collects facts or carries out.
//!
//! The rows are tried in order; the exhaustive test walks every combination of facts and wants exactly one row whose
//! condition, together with those before it failing, holds.

/// Whether all bytes could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    Whole,
    /// An I/O error: never evidence of damage.
    Error,
}

/// How the files that the manifest names look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    AllThere,
    /// One is missing, or its header does not verify although it was synced before it was listed.
    Damaged,
}

/// What lies behind the last frame of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    Unwritten,
    Torn,
}

/// Whether anything proves that more was durable than the chain holds: a later frame's durable-up-to, a link, a seal,
/// or the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    Nothing,
    Proven,
}

/// Whether the last frame of the chain is a seal, or there is no frame at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    Sealed,
    Open,
}

/// All that the decision depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub reading: Reading,
    pub files: Files,
    pub tail: Tail,
    pub beyond: Beyond,
    pub closing: Closing,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It could not be read now: change nothing, report, allow another try.
    Fail,
    /// Acknowledged data is missing or damaged: change nothing, report.
    Corrupt,
    /// Nothing to mend: serve, writing nothing.
    Serve,
    /// Copy the unproven frames forward into a fresh segment, then serve.
    CopyForward,
    /// The same, and bytes behind the chain are dead.
    CutAndCopyForward,
}

/// A labelled row of the table.
#[derive(Debug)]
pub struct Row {
    pub label: &'static str,
    pub verdict: Verdict,
    condition: fn(&Facts) -> bool,
}

/// The table. R-numbers are the rules of the fault model.
pub const ROWS: &[Row] = &[
    Row { label: "read error (R4)", verdict: Verdict::Fail, condition: |f| f.reading == Reading::Error },
    Row {
        label: "listed file missing or damaged",
        verdict: Verdict::Corrupt,
        condition: |f| f.files == Files::Damaged,
    },
    Row {
        label: "durable commits missing (R3, R4)",
        verdict: Verdict::Corrupt,
        condition: |f| f.beyond == Beyond::Proven,
    },
    Row {
        label: "torn tail (R4, R5)",
        verdict: Verdict::CutAndCopyForward,
        condition: |f| f.tail == Tail::Torn,
    },
    Row { label: "sealed", verdict: Verdict::Serve, condition: |f| f.closing == Closing::Sealed },
    Row {
        label: "not sealed (R6)",
        verdict: Verdict::CopyForward,
        condition: |f| f.closing == Closing::Open,
    },
];

/// The row that applies.
#[must_use]
pub fn decide(facts: &Facts) -> &'static Row {
    ROWS.iter().find(|row| (row.condition)(facts)).expect("the last two rows cover what is left")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every() -> Vec<Facts> {
        let mut all = Vec::new();
        for reading in [Reading::Whole, Reading::Error] {
            for files in [Files::AllThere, Files::Damaged] {
                for tail in [Tail::Unwritten, Tail::Torn] {
                    for beyond in [Beyond::Nothing, Beyond::Proven] {
                        for closing in [Closing::Sealed, Closing::Open] {
                            all.push(Facts { reading, files, tail, beyond, closing });
                        }
                    }
                }
            }
        }
        all
    }

    /// The table said once more, as what must hold of each verdict.
    #[test]
    fn every_combination_has_exactly_the_verdict_that_the_guarantees_ask_for() {
        assert_eq!(every().len(), 32);
        for f in every() {
            let readable = f.reading == Reading::Whole;
            let intact = readable && f.files == Files::AllThere && f.beyond == Beyond::Nothing;
            let expected: Vec<Verdict> = [
                (!readable, Verdict::Fail),
                (readable && !intact, Verdict::Corrupt),
                (intact && f.tail == Tail::Torn, Verdict::CutAndCopyForward),
                (intact && f.tail == Tail::Unwritten && f.closing == Closing::Sealed, Verdict::Serve),
                (intact && f.tail == Tail::Unwritten && f.closing == Closing::Open, Verdict::CopyForward),
            ]
            .into_iter()
            .filter_map(|(holds, verdict)| holds.then_some(verdict))
            .collect();
            assert_eq!(expected, [decide(&f).verdict], "{f:?}");
        }
    }

    #[test]
    fn every_row_is_reached() {
        for row in ROWS {
            assert!(every().iter().any(|f| decide(f).label == row.label), "{}", row.label);
        }
    }
}
