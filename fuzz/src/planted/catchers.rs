//! Which test catches which fault.

use tidelog_engine::planted::Planted;

/// A binary of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Those inside the engine.
    Unit,
    /// Those over its public face.
    Integration,
}

/// The tests that must fail where a fault is planted.
#[derive(Debug, Clone, Copy)]
pub struct Catcher {
    /// The fault.
    pub fault: Planted,
    /// Where the tests are.
    pub suite: Suite,
    /// What selects them.
    pub filter: &'static str,
}

const fn unit(fault: Planted, filter: &'static str) -> Catcher {
    Catcher { fault, suite: Suite::Unit, filter }
}

const fn integration(fault: Planted, filter: &'static str) -> Catcher {
    Catcher { fault, suite: Suite::Integration, filter }
}

/// Each fault once.
pub const CATCHERS: &[Catcher] = &[
    unit(
        Planted::GroupNotSynced,
        "wal::tests::writing::durable_groups_choose_their_flush wal::tests::crash",
    ),
    unit(Planted::SyncBeforeWrite, "wal::tests::crash"),
    unit(Planted::NothingUnsynced, "wal::tests::crash"),
    unit(Planted::StoreBesideSynced, "wal::tests::crash"),
    unit(Planted::LogFailureForgotten, "wal::tests::writing"),
    unit(Planted::WipeTooFar, "wal::tests::laps"),
    unit(Planted::ChainNotChecked, "wal::tests::hostile"),
    unit(Planted::BodyNotChecked, "wal::tests::damage"),
    unit(Planted::DamageIsTorn, "wal::tests::damage"),
    integration(
        Planted::SaltKept,
        "power_loss::power_is_lost_at_every_operation_of_durable_commits",
    ),
    integration(
        Planted::EpochForgotten,
        "basic::power_loss_of_buffered_commits_never_reissues_a_seq",
    ),
    integration(
        Planted::UnsyncedNotDeclared,
        "basic::power_loss_of_buffered_commits_never_reissues_a_seq",
    ),
    integration(
        Planted::TailNotCopied,
        "power_loss::power_is_lost_at_every_operation_of_durable_commits",
    ),
    integration(
        Planted::ReplaySkipsAFrame,
        "groups::a_kill_behind_groups_of_several_batches_takes_none",
    ),
    integration(
        Planted::LargePayloadsNotReserved,
        "large_payloads::recovery_and_giving_back_leave_named_extents_alone",
    ),
    unit(Planted::ReadErrorEndsLog, "wal::tests::damage::an_unreadable_sector"),
    unit(Planted::SuperblockAtOnce, "file::superblock::tests::crashes_in_updates"),
    unit(Planted::QuorumOfOne, "file::superblock::tests::quorum_truth_table"),
    unit(Planted::NothingHealed, "file::superblock::tests::crashes_in_updates"),
    unit(Planted::ShortFileOpened, "file::superblock::tests::a_file_that_was_cut"),
    integration(Planted::RootNotSynced, "power_loss::power_is_lost_at_operations_of_mixed_commits"),
    integration(Planted::RingReleasedEarly, "power_loss extremes::what_is_extreme"),
    unit(Planted::PoisonForgotten, "file::allocator::tests::a_failed_sync"),
    unit(Planted::ShortWriteIgnored, "wal::tests::crash::short_reads_and_writes"),
    unit(Planted::ReusedEarly, "file::allocator::tests"),
    unit(Planted::ReadersForgotten, "file::allocator::tests"),
    unit(Planted::GrowthNotSynced, "file::allocator::tests"),
    unit(Planted::ManifestNotChecked, "manifest::tests::damage_anywhere"),
    unit(Planted::BlockNotChecked, "sstable::tests::damage"),
    unit(Planted::ParentNotChecked, "sstable::tests::damage::a_block_that_its_parent"),
    unit(Planted::RecordNotChecked, "segment::tests::a_flipped_bit"),
    integration(Planted::AssignedForGood, "basic::given_ids_rise"),
    integration(Planted::PublishedEarly, "real::no_reader_ever_meets_a_gap"),
    integration(Planted::ConflictsIgnored, "basic::preconditions_hold"),
    integration(Planted::ValuesNotLookedAt, "groups::of_two_batches_that_require_the_same_value"),
    unit(Planted::PinnedEvicted, "state::tests"),
    unit(Planted::LoadedAndEvicted, "state::tests"),
    integration(Planted::NextSeqForgotten, "expiry::a_seq_is_never_given_out_again"),
    integration(
        Planted::BuriedSeqForgotten,
        "power_loss::power_is_lost_at_operations_of_mixed_commits marks::",
    ),
    unit(Planted::FlushedSeqForgotten, "compaction::tests::jobs"),
    integration(Planted::OldestDecides, "expiry:: histories::histories_agree"),
    unit(Planted::DeletesForgotten, "compaction::tests::keep::"),
    unit(Planted::SnapshotsForgotten, "compaction::tests::keep::"),
    integration(Planted::TrimmedForSnapshots, "marks::a_snapshot_sees"),
    integration(Planted::TrimOneMore, "marks::"),
    unit(Planted::AmendmentsForgotten, "compaction::tests::keep_amendments"),
    integration(
        Planted::EntryLost,
        "marks:: power_loss::power_is_lost_at_operations_of_mixed_commits",
    ),
    integration(Planted::SegmentsForgotten, "segments:: moved_segments::"),
    integration(Planted::MarksNotShown, "marks::marks_hide"),
    integration(
        Planted::ClockForgotten,
        "regression_durability::what_expired_on_an_idle_day expiry_crash::",
    ),
    unit(Planted::JumpBelieved, "runtime::store_clock"),
    integration(Planted::SnapshotAhead, "basic::a_snapshot_shows_one_moment"),
    integration(Planted::LevelsTurned, "basic:: histories::histories_agree"),
];
