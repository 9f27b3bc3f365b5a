//! Range deletes of a client.
use super::{Checked, Client};
use crate::model::Changes;
use crate::plan::{Stretch, Wait};
use bulkhead::Space;
use std::ops::Bound;

impl Client {
    /// Deletes a range, through a call that waits or one that does not.
    pub(super) async fn delete_range(&mut self, space: &Space, range: Stretch, wait: Wait) -> Checked<()> {
        let changes = Changes { ranges: vec![range.clone()], keys: Vec::new() };
        if wait == Wait::Configured {
            let (result, lsn) = self.watch(space, &changes, u32::MAX, space.delete_range(range)).await?;
            return self.configured(result.expect("it was not abandoned"), lsn).await;
        }
        let (result, lsn) = self.watch(space, &changes, u32::MAX, space.delete_range_commit(range)).await?;
        self.follow(result.expect("it was not abandoned"), lsn, wait).await
    }

    /// Deletes all there is.
    pub(super) async fn clear(&mut self, space: &Space, wait: Wait) -> Checked<()> {
        let changes = Changes { ranges: vec![(Bound::Unbounded, Bound::Unbounded)], keys: Vec::new() };
        if wait == Wait::Configured {
            let (result, lsn) = self.watch(space, &changes, u32::MAX, space.clear()).await?;
            return self.configured(result.expect("it was not abandoned"), lsn).await;
        }
        let (result, lsn) = self.watch(space, &changes, u32::MAX, space.clear_commit()).await?;
        self.follow(result.expect("it was not abandoned"), lsn, wait).await
    }
}
