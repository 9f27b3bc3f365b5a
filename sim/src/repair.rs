//! Somebody orders the repair of a space that cannot be opened, and looks whether it costs what it said beforehand.
//!
//! What a repair may cost is known from where the damage is: nothing in front of it. What it keeps is a promise once it
//! was ordered, in the other direction too: nothing behind that is ever seen again, wherever a crash cuts the repair short.
use crate::damage::manifests_are_durable;
use crate::execute::ROOT;
use crate::failure::{Failure, Guarantee};
use crate::model::{Existence, Harm, Model, Struck};
use crate::plan::Repair;
use crate::probe::Probe;
use crate::story::{Doing, Story, in_order};
use bulkhead::{Engine, Error, ErrorKind, Lsn, Rejected, RepairPlan};
use bulkhead_fault_injection::CrashPoint;

/// Whether others may do something with the space at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    Some,
    None,
}

/// The opening of `space` was answered with `told`: repairs it, if that is what this boot does about it.
///
/// # Errors
/// What does not agree with the model.
pub async fn order(
    story: &Story,
    engine: &Engine,
    space: usize,
    others: Others,
    told: &Error,
) -> Result<(), Failure> {
    let wanted = story.shared().repair;
    if wanted == Repair::Never || !matches!(told.kind(), ErrorKind::Corrupt | ErrorKind::Failed) {
        return Ok(());
    }
    let (id, now) = {
        let model = story.model(space);
        if model.existence != Existence::Certain {
            // A creation that failed: there may be nothing to repair.
            return Ok(());
        }
        (model.id.clone(), moment(&model))
    };
    let plan = match engine.repair_plan(&id).await {
        Ok(plan) => plan,
        Err(e) => return refused(story, space, others, &e),
    };
    let struck = struck(story, space);
    {
        let model = story.model(space);
        if moment(&model) != now {
            return Ok(());
        }
        model.planned(&plan, struck)?;
    }
    if !salvaged(story, engine, space, now, &plan).await? {
        return Ok(());
    }
    {
        let mut model = story.model(space);
        if moment(&model) != now {
            return Ok(());
        }
        model.planned = Some(plan.kept.raw());
        if manifests_are_durable(&story.world, &format!("{ROOT}/{}", id.dir_name())) {
            model.most = plan.kept.raw();
        }
        // What it copies forward has no seal behind it.
        model.sealed = false;
        model.repairing += 1;
        if let Repair::CutShort { k } = wanted {
            story.world.crash_at(CrashPoint::OwnerIo { owner: model.owner.0, k });
        }
    }
    let result = engine.repair(&plan).await;
    story.model(space).repairing -= 1;
    match result {
        Ok(handle) => {
            let recovered = handle.recovery_report().last_lsn;
            if recovered != plan.kept {
                let what = format!("a repair was to keep {}, and kept {recovered}", plan.kept);
                return Err(story.model(space).failure(Guarantee::G4Honesty, what));
            }
            repaired(story, space, &plan);
            story.observe(space, &handle).await.map(|_| ())
        }
        Err(e) => refused(story, space, others, &e),
    }
}

/// Says which opening of which space this is.
fn moment(model: &Model) -> (u64, u64) {
    (model.generation, model.opening)
}

fn struck(story: &Story, space: usize) -> Struck {
    let strikes = story.world.strikes(story.owner(space));
    if strikes > story.model(space).strikes { Struck::Yes } else { Struck::No }
}

/// Reads what can be read, and compares it. False if there is nothing more to do.
async fn salvaged(
    story: &Story,
    engine: &Engine,
    space: usize,
    now: (u64, u64),
    plan: &RepairPlan,
) -> Result<bool, Failure> {
    let salvage = match engine.salvage(&plan.id).await {
        Ok(salvage) => salvage,
        // A table that cannot be read: what the log holds can still be repaired.
        Err(e) => {
            return story.judge(space, Doing::Opening, &e).map(|()| true).or_else(|wrong| match e.kind() {
                ErrorKind::Rejected(Rejected::State) => Ok(false),
                _ => Err(wrong),
            });
        }
    };
    let expected = {
        let model = story.model(space);
        if moment(&model) != now {
            return Ok(false);
        }
        if salvage.last() != plan.kept {
            let what = format!("{} can be read, but a repair keeps {}", salvage.last(), plan.kept);
            return Err(model.failure(Guarantee::G4Honesty, what));
        }
        in_order(&model.state(plan.kept.raw()), |_| true)
    };
    story.same(space, &salvage.entries(), &expected, "what can be salvaged").map(|()| true)
}

/// A repair, or its plan, was answered with an error.
fn refused(story: &Story, space: usize, others: Others, e: &Error) -> Result<(), Failure> {
    let owner = story.owner(space);
    {
        let mut model = story.model(space);
        model.tell(Story::error_hash(e));
        if e.kind() == ErrorKind::Rejected(Rejected::State) && others == Others::Some {
            // Somebody else has opened it, or made an attempt.
            return Ok(());
        }
        let mends = model.mends || model.harm == Harm::None;
        let full = e.kind() == ErrorKind::NoSpace && story.shared().was_full;
        if mends && !full && !story.is_struck(owner) && others == Others::None {
            let what = format!("its damage could be repaired, but: {e:?}");
            return Err(model.failure(Guarantee::G9Liveness, what));
        }
    }
    story.hit(Probe::BeyondRepair);
    story.judge(space, Doing::Opening, e)
}

fn repaired(story: &Story, space: usize, plan: &RepairPlan) {
    let (lossy, anew) = {
        let model = story.model(space);
        (plan.kept < Lsn::from_raw(model.promised()), model.cut_short > 0)
    };
    let mut shared = story.shared();
    shared.repairs += 1;
    let probes = [
        (true, Probe::Repaired),
        (lossy, Probe::RepairedWithLoss),
        (plan.rebuilds_identity, Probe::IdentityRebuilt),
        (anew, Probe::RepairedAnew),
    ];
    probes.iter().filter(|(hit, _)| *hit).for_each(|(_, probe)| shared.probes.hit(*probe));
}

/// The machine crashed: which repairs did that cut short?
pub fn notice_crash(story: &Story) {
    for space in 0..story.len() {
        let mut model = story.model(space);
        if model.repairing == 0 {
            continue;
        }
        model.cut_short += 1;
        let times = model.cut_short;
        drop(model);
        story.hit(Probe::CrashInRepair);
        if times == 2 {
            story.hit(Probe::CrashInRepairTwice);
        }
    }
}
