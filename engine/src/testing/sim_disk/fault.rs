//! The fault plan: which operation fails, how often, and what it leaves behind.

/// One planned fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The kind of operation that is hit.
    pub operation: FaultOperation,
    /// How many operations of this kind succeed first, counted from now.
    pub at: u64,
    /// Whether the fault stays.
    pub times: FaultTimes,
    /// What happens.
    pub effect: FaultEffect,
}

/// A kind of operation that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultOperation {
    /// `read_at`.
    Read,
    /// `write_at`, with either flush.
    Write,
    /// `sync`.
    Sync,
    /// `allocate`.
    Allocate,
}

/// How often a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultTimes {
    /// One operation.
    Once,
    /// This operation and all later ones of its kind, until the faults are cleared.
    Forever,
}

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultEffect {
    /// An I/O error; nothing was done. A failed sync leaves everything pending.
    Error,
    /// An I/O error of a write that was done in part.
    PartialWrite(WrittenPart),
    /// Legal: the write takes about half of the bytes, a multiple of the alignment, at least one.
    ShortWrite,
    /// Legal: the read gives half of the bytes, at least one.
    ShortRead,
    /// An I/O error of a sync.
    FailedSync(AfterFailedSync),
    /// A sync that finds the disk full: pages that were taken have no room.
    FullSync(AfterFailedSync),
}

/// How much of a failed write reached the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrittenPart {
    /// No sector.
    Nothing,
    /// The first sector.
    OneSector,
    /// Half of the sectors.
    Half,
}

/// What is where after a failed sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailedSync {
    /// Nothing changed: a later sync writes the pending operations.
    KeptInCache,
    /// The cache dropped the pending writes: the file reads as it is on the device.
    Reverted,
    /// The cache shows the pending writes, but believes them to be on the device: a later sync
    /// does not write them, and a power loss takes them.
    LostOnlyAfterCrash,
}

/// The faults that have not struck for the last time.
#[derive(Default)]
pub(super) struct FaultPlan {
    faults: Vec<Fault>,
}

impl FaultPlan {
    pub(super) fn add(&mut self, fault: Fault) {
        let fits = match fault.effect {
            FaultEffect::Error => true,
            FaultEffect::PartialWrite(_) | FaultEffect::ShortWrite => {
                fault.operation == FaultOperation::Write
            }
            FaultEffect::ShortRead => fault.operation == FaultOperation::Read,
            FaultEffect::FailedSync(_) | FaultEffect::FullSync(_) => {
                fault.operation == FaultOperation::Sync
            }
        };
        assert!(fits, "the effect does not fit the operation: {fault:?}");
        self.faults.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.faults.clear();
    }

    /// Counts one operation against every fault of its kind; the first that strikes decides.
    pub(super) fn strike(&mut self, operation: FaultOperation) -> Option<FaultEffect> {
        let mut struck = None;
        self.faults.retain_mut(|fault| {
            if fault.operation != operation {
                return true;
            }
            if fault.at > 0 {
                fault.at -= 1;
                return true;
            }
            struck.get_or_insert(fault.effect);
            fault.times == FaultTimes::Forever
        });
        struck
    }
}
