//! Faults that are planted on purpose: the tests themselves are tested with them.
//!
//! Without the feature `planted` there are none: `Planted::is_on` is `false`, and the compiler
//! leaves out what asks. With it, the variable `TIDELOG_PLANTED` names the one that is planted in
//! this process, and every test that passes all the same has not looked. Which test catches which,
//! and the run that shows it: `tidelog-fuzz`, `planted`.
//!
//! A fault is one line that somebody could really write: a sync left out, two steps turned round, a
//! check forgotten. It stands where the right line stands, so that it goes where that goes.

#[cfg(feature = "planted")]
use std::sync::OnceLock;

/// A fault that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// A group that is to be durable is written like one that is not.
    GroupNotSynced,
    /// The sync behind unsynced groups comes before the write of the durable one.
    SyncBeforeWrite,
    /// Everything written counts as synced.
    NothingUnsynced,
    /// A group is stored into a page that holds synced bytes.
    StoreBesideSynced,
    /// A failed write or sync of the log is told once, and forgotten.
    LogFailureForgotten,
    /// What is overwritten with zeros reaches into what replay needs.
    WipeTooFar,
    /// Replay takes a group that does not follow the one before.
    ChainNotChecked,
    /// Replay takes a group whose frames do not verify.
    BodyNotChecked,
    /// Damage inside synced data is taken for a torn tail.
    DamageIsTorn,
    /// The log that recovery begins has the salt of the one before.
    SaltKept,
    /// Recovery begins no epoch where readers have seen what was lost.
    EpochForgotten,
    /// Unsynced commits are acknowledged without a word in the superblock.
    UnsyncedNotDeclared,
    /// The groups of the active memtable are not written to the new log.
    TailNotCopied,
    /// Replay leaves out the last batch of each group of several.
    ReplaySkipsAFrame,
    /// Recovery takes for free what only the log names.
    LargePayloadsNotReserved,
    /// A read of the log that fails is taken for its end.
    ReadErrorEndsLog,
    /// All copies of the superblock are written behind one sync.
    SuperblockAtOnce,
    /// One copy of the superblock is believed.
    QuorumOfOne,
    /// Copies of the superblock that an update left behind stay as they are.
    NothingHealed,
    /// A file that was cut short is opened.
    ShortFileOpened,
    /// The superblock is written before what it names is on the disk.
    RootNotSynced,
    /// A flush frees all of the ring, also what no SSTable has.
    RingReleasedEarly,
    /// After a failed sync the store goes on.
    PoisonForgotten,
    /// A write that the disk took in part counts as done.
    ShortWriteIgnored,
    /// An extent is free while superblocks that name it can still be read.
    ReusedEarly,
    /// An extent is released while readers still hold it.
    ReadersForgotten,
    /// The file is longer before that is on the disk.
    GrowthNotSynced,
    /// A record of the manifest that does not verify is believed.
    ManifestNotChecked,
    /// A block of an SSTable that does not verify is read.
    BlockNotChecked,
    /// A block is taken that is not the one that its parent names.
    ParentNotChecked,
    /// A payload of a segment that does not verify is read.
    RecordNotChecked,
    /// Sequence ids of a batch that was refused are not taken back.
    AssignedForGood,
    /// A group is published before the memtable has it.
    PublishedEarly,
    /// A batch is taken although the next sequence id is not the expected one.
    ConflictsIgnored,
    /// A precondition on a value is not looked at again by the leader.
    ValuesNotLookedAt,
    /// The state of a timeline is evicted while a batch holds it.
    PinnedEvicted,
    /// A state that was loaded before an eviction is believed.
    LoadedAndEvicted,
    /// What has expired is dropped with the last word on how far its timelines had come.
    NextSeqForgotten,
    /// What was trimmed is left out with the last word on how far its timeline had come.
    BuriedSeqForgotten,
    /// A flush does not record timelines that it leaves out.
    FlushedSeqForgotten,
    /// SSTables are dropped once their oldest entry has expired.
    OldestDecides,
    /// A keyed delete goes in a compaction although older values lie below.
    DeletesForgotten,
    /// Versions that a snapshot reads are folded into newer ones.
    SnapshotsForgotten,
    /// What the newest trim hides is left out although a snapshot shows it.
    TrimmedForSnapshots,
    /// A trim hides one entry more than it says.
    TrimOneMore,
    /// Amendments go in a compaction although their entries can be read.
    AmendmentsForgotten,
    /// A compaction loses the first entry of a fragment that it cuts, and counts it as dead.
    EntryLost,
    /// A payload goes with the first of the SSTables that need it.
    SegmentsForgotten,
    /// Readers are not told that a table has marks now.
    MarksNotShown,
    /// How far time had come is not written down.
    ClockForgotten,
    /// The wall clock is believed however far it jumps.
    JumpBelieved,
    /// A snapshot shows the commit that comes after it.
    SnapshotAhead,
    /// A timeline's sources are read from the oldest on.
    LevelsTurned,
}

impl Planted {
    /// All of them.
    pub const ALL: [Planted; 53] = [
        Planted::GroupNotSynced,
        Planted::SyncBeforeWrite,
        Planted::NothingUnsynced,
        Planted::StoreBesideSynced,
        Planted::LogFailureForgotten,
        Planted::WipeTooFar,
        Planted::ChainNotChecked,
        Planted::BodyNotChecked,
        Planted::DamageIsTorn,
        Planted::SaltKept,
        Planted::EpochForgotten,
        Planted::UnsyncedNotDeclared,
        Planted::TailNotCopied,
        Planted::ReplaySkipsAFrame,
        Planted::LargePayloadsNotReserved,
        Planted::ReadErrorEndsLog,
        Planted::SuperblockAtOnce,
        Planted::QuorumOfOne,
        Planted::NothingHealed,
        Planted::ShortFileOpened,
        Planted::RootNotSynced,
        Planted::RingReleasedEarly,
        Planted::PoisonForgotten,
        Planted::ShortWriteIgnored,
        Planted::ReusedEarly,
        Planted::ReadersForgotten,
        Planted::GrowthNotSynced,
        Planted::ManifestNotChecked,
        Planted::BlockNotChecked,
        Planted::ParentNotChecked,
        Planted::RecordNotChecked,
        Planted::AssignedForGood,
        Planted::PublishedEarly,
        Planted::ConflictsIgnored,
        Planted::ValuesNotLookedAt,
        Planted::PinnedEvicted,
        Planted::LoadedAndEvicted,
        Planted::NextSeqForgotten,
        Planted::BuriedSeqForgotten,
        Planted::FlushedSeqForgotten,
        Planted::OldestDecides,
        Planted::DeletesForgotten,
        Planted::SnapshotsForgotten,
        Planted::TrimmedForSnapshots,
        Planted::TrimOneMore,
        Planted::AmendmentsForgotten,
        Planted::EntryLost,
        Planted::SegmentsForgotten,
        Planted::MarksNotShown,
        Planted::ClockForgotten,
        Planted::JumpBelieved,
        Planted::SnapshotAhead,
        Planted::LevelsTurned,
    ];

    /// What the variable calls it.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Whether it is planted in this process.
    #[cfg(feature = "planted")]
    pub(crate) fn is_on(self) -> bool {
        static CHOSEN: OnceLock<Option<Planted>> = OnceLock::new();
        *CHOSEN.get_or_init(chosen) == Some(self)
    }

    /// Never: nothing can be planted in this build.
    #[cfg(not(feature = "planted"))]
    pub(crate) const fn is_on(self) -> bool {
        false
    }
}

/// The fault that the environment names.
///
/// # Panics
/// Where it names one that is none: a run without the fault would prove nothing.
#[cfg(feature = "planted")]
fn chosen() -> Option<Planted> {
    let name = std::env::var("TIDELOG_PLANTED").ok()?;
    let fault = Planted::ALL.into_iter().find(|fault| fault.name() == name);
    Some(fault.unwrap_or_else(|| panic!("TIDELOG_PLANTED={name} is no fault")))
}
