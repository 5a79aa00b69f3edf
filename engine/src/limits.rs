//! Every bound and size constant of the engine, and the relations between them.
//!
//! A limit that a user can meet is quoted in the error that reports it.

/// The unit of the file: superblock copies, extents and manifest records are multiples of it.
pub const BLOCK_SIZE: u64 = 4096;
/// Largest alignment that a direct write may need (logical block of the device).
pub const DIRECT_ALIGNMENT_MAX: usize = 4096;

/// Shortest and longest encoded timeline id or key of a keyed table, in bytes.
pub const KEY_LENGTH_MIN: usize = 1;
/// Longest encoded timeline id or key of a keyed table, in bytes.
pub const KEY_LENGTH_MAX: usize = 1024;
/// Longest payload of one entry and longest value of a keyed table, in bytes.
pub const PAYLOAD_LENGTH_MAX: usize = 16 * 1024 * 1024;
/// A message's payload of so many bytes or more is written to an extent of its own before the
/// commit, and the log holds only where it lies: it takes no room of the ring, nor of the memtable.
pub const LARGE_PAYLOAD_BYTES: usize = 256 * 1024;
/// Longest table name, in bytes.
pub const TABLE_NAME_LENGTH_MAX: usize = 128;
/// Most tables in one store, the engine's own not counted.
pub const TABLE_COUNT_MAX: usize = 1024;
/// Most bytes of frames in one atomic batch; a quarter of the ring where that is less. A large
/// payload is not in its frame.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The highest sequence id given out. Above it `SeqExhausted`; the rest is kept for sentinels.
pub const SEQ_MAX: u64 = u64::MAX - (1 << 16);
/// The highest commit number, position in the log, time or update count that an opening believes.
/// No store gets there by counting; whoever writes more into a file wants an overflow.
pub const COUNTER_MAX: u64 = u64::MAX / 2;

/// Superblock copies in the file.
pub const SUPERBLOCK_COPIES: usize = 4;
/// Bytes of one superblock copy.
pub const SUPERBLOCK_SIZE: usize = 4096;
/// Distance between the starts of two copies.
pub const SUPERBLOCK_STRIDE: u64 = 16 * 1024;
/// Where the WAL ring begins: just behind the superblock zone.
pub const RING_OFFSET: u64 = SUPERBLOCK_COPIES as u64 * SUPERBLOCK_STRIDE;

/// Smallest WAL ring, in bytes.
pub const RING_BYTES_MIN: u64 = 256 * 1024;
/// Largest WAL ring, in bytes.
pub const RING_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// WAL ring where the options do not say, in bytes.
pub const RING_BYTES_DEFAULT: u64 = 128 * 1024 * 1024;
/// The leader forces a sync before more than this share of the ring (1/n) is unsynced.
pub const RING_UNSYNCED_SHARE: u64 = 8;

/// Smallest memtable limit, in bytes.
pub const MEMTABLE_BYTES_MIN: usize = 16 * 1024;
/// Memtable limit where the options do not say, in bytes.
pub const MEMTABLE_BYTES_DEFAULT: usize = 64 * 1024 * 1024;
/// A memtable that recovery has filled to this share of its limit (1/n) is flushed at once.
pub const RECOVERED_FLUSH_SHARE: usize = 4;
/// Memory budget where the options do not say, in bytes.
pub const MEMORY_BUDGET_DEFAULT: usize = 512 * 1024 * 1024;

/// Target size of a data block in an SSTable, before compression, in bytes.
pub const DATA_BLOCK_BYTES: usize = 16 * 1024;
/// The same in a cold SSTable: few reads, so larger blocks, which compress better.
pub const COLD_BLOCK_BYTES: usize = 64 * 1024;
/// Bytes of the dictionary that an SSTable compressed with zstd is given, at most.
pub const DICTIONARY_BYTES: usize = 32 * 1024;
/// Longest dictionary that is believed, in bytes.
pub const DICTIONARY_BYTES_MAX: usize = 64 * 1024;
/// Raw bytes at the front of an SSTable that a dictionary is trained and judged on.
pub const DICTIONARY_SAMPLE_BYTES: usize = 4 * 1024 * 1024;
/// The fastest and the densest level of zstd.
pub const ZSTD_LEVELS: std::ops::RangeInclusive<u8> = 1..=19;
/// Level of zstd in the cold tier where the table does not say.
pub const ZSTD_LEVEL_COLD: u8 = 6;
/// A timeline's fragment below this many bytes is not cut over two blocks.
pub const FRAGMENT_UNCUT_BYTES: usize = 4 * 1024;
/// Size of index, directory and filter pages of an SSTable, in bytes.
pub const PAGE_SIZE: usize = 4096;
/// Bytes after which flush and compaction begin a new SSTable, by default.
pub const SSTABLE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Bytes of one direct write of background output.
pub const OUTPUT_PIECE_BYTES: usize = 256 * 1024;
/// Bytes per second that a scrub reads, by default: a twelfth of the default rate of background
/// output, and a few reads of 256 KiB each tenth of a second, which no commit waits behind.
pub const SCRUB_PACE_DEFAULT: u64 = 16 * 1024 * 1024;
/// Fewest bytes per second that a scrub or a verification may be asked to read.
pub const CHECK_PACE_MIN: u64 = 64 * 1024;
/// Bytes of directory and filter that the verification of one SSTable keeps for its lookups.
pub const VERIFY_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Faults that one scrub keeps in words; more are counted.
pub const SCRUB_FAULTS_MAX: usize = 1000;
/// Bytes that the first touch of a cold SSTable brings into the page cache around it, those of a
/// huge page, see
/// [`Options::memory_budget`](crate::Options::memory_budget).
pub const READ_AROUND_BYTES: u64 = 2 * 1024 * 1024;
/// The outputs of a compaction are brought into memory where readers have touched this share (1/n)
/// of its inputs.
pub const WARM_INPUT_SHARE: u64 = 2;
/// Blocks of a cold SSTable that are brought in alone, before more is brought in around those that
/// are touched: whoever reads once looks into many SSTables, and should wait for a block of each.
pub const READ_ALONE_BLOCKS: u64 = 4;

/// The part of the ring that one memtable's groups may take, as numerator and denominator: two
/// memtables and some room.
pub const RING_SPAN_PARTS: (u64, u64) = (3, 8);

/// Bytes per second that a flush writes at least, while nobody waits for it and none need be held
/// back: see `engine/flush_pace.rs`.
pub const FLUSH_RATE_MIN: u64 = 16 * 1024 * 1024;

/// Shortest free run that is given back to the file system while the store runs, in bytes.
pub const PUNCH_BYTES_MIN: u64 = 256 * 1024;
/// Most bytes of one punched hole: the commits of the log wait for it, some 0.3 ms a mebibyte.
pub const PUNCH_BYTES_MAX: u64 = 1024 * 1024;
/// Milliseconds between two holes, in which the commits that have waited are written.
pub const PUNCH_PAUSE_MS: u64 = 6;
/// Most bytes that are cut off the end of the file at once, for the same reason.
pub const CUT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Free bytes that are kept for reuse over the whole file, however little is in use.
pub const FREE_KEPT_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// LSM levels, level 0 included.
pub const LEVEL_COUNT: usize = 7;
/// SSTables in level 0 of a shard at which compaction begins; half as many of a keyed table, whose
/// old versions take room.
pub const LEVEL0_COMPACT: usize = 16;
/// SSTables in level 0 of a table at which writers are slowed down.
pub const LEVEL0_SLOW: usize = 48;
/// SSTables in level 0 of a table at which writers wait.
pub const LEVEL0_STOP: usize = 96;
/// A move to the cold tier reads so many SSTables of the usual size at once: less than a compaction
/// may take from level 0, so that what is due meanwhile waits no longer than for any job.
pub const MOVE_PIECE_SSTABLES: u64 = 8;
/// Runs of a timeline in one shard up to which a read is as quick as it gets: each SSTable of level
/// 0 is one, and each level below. What lies beyond is charged for being looked into.
pub const LOCALITY_RUNS: usize = 4;
/// One read of a run beyond these pays for rewriting so many bytes: it has cost a block.
pub const LOCALITY_BYTES_PER_READ: u64 = DATA_BLOCK_BYTES as u64;
/// Charges of one SSTable below which nothing is compacted for them, however small it is.
pub const LOCALITY_READS_MIN: u64 = 64;
/// Size ratio of neighbouring levels.
pub const LEVEL_RATIO: u64 = 10;

/// Entries that may be published ahead of the last sync, over the whole store (the epoch rule's G).
pub const UNSYNCED_ENTRIES_MAX: u64 = 1_000_000;

/// Smallest manifest extent, in bytes.
pub const MANIFEST_EXTENT_BYTES_MIN: u64 = 64 * 1024;

const _: () = assert!(SUPERBLOCK_SIZE as u64 <= SUPERBLOCK_STRIDE);
const _: () = assert!(RING_OFFSET.is_multiple_of(BLOCK_SIZE));
const _: () = assert!(RING_BYTES_MIN.is_multiple_of(BLOCK_SIZE));
const _: () = assert!(BATCH_BYTES_MAX >= PAYLOAD_LENGTH_MAX);
const _: () = assert!(LEVEL0_COMPACT < LEVEL0_SLOW && LEVEL0_SLOW < LEVEL0_STOP);
const _: () = assert!(FRAGMENT_UNCUT_BYTES < DATA_BLOCK_BYTES);
const _: () = assert!(PAGE_SIZE as u64 == BLOCK_SIZE);
const _: () = assert!(DICTIONARY_BYTES <= DICTIONARY_BYTES_MAX);
const _: () = assert!(DATA_BLOCK_BYTES <= COLD_BLOCK_BYTES);

/// Longest key of the state table: a timeline id behind the id of its table.
pub const STATE_KEY_LENGTH_MAX: usize = KEY_LENGTH_MAX + 4;
/// Longest key of the amendment table: table, timeline id, sequence id.
pub const AMENDMENT_KEY_LENGTH_MAX: usize = KEY_LENGTH_MAX + 12;
/// Longest key of the mark table: table, length of the timeline id, timeline id, kind, sequence id.
pub const MARK_KEY_LENGTH_MAX: usize = KEY_LENGTH_MAX + 15;
/// Amendments of one entry that compaction keeps, the newest of them, beside what snapshots see.
pub const REVISIONS_KEPT_MAX: usize = 1000;
/// The same in bytes of payload.
pub const REVISION_BYTES_KEPT_MAX: usize = 64 * 1024 * 1024;
/// Most batches that one commit group takes.
pub const GROUP_BATCHES_MAX: usize = 4096;
/// Largest unsynced commit group that is stored into the page cache. A larger one is written
/// directly, beside the filling of the memtable: copying it costs the caller more than that
/// (measured with groups of 128 KiB through a map: a sixth fewer messages a second).
pub const STORED_GROUP_BYTES_MAX: usize = 16 * 1024;
/// Bytes of the log that are stored into the page cache before the device is told to begin with
/// them: a sync then has at most so much left to write.
pub const STORED_PIECE_BYTES: u64 = 1024 * 1024;
/// How often the lock of a file is asked for, and the pause between two times: a fifth of a second
/// in all, several times what the system was seen to take to let go of a killed process's.
pub const LOCK_TRIES: usize = 100;
/// See [`LOCK_TRIES`].
pub const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(2);
/// Longest time for which a leader waits for callers that come back: what it takes to wake them.
pub const GROUP_DELAY_MAX: std::time::Duration = std::time::Duration::from_micros(40);
/// Callers of durable commits above which none is waited for.
pub const GROUP_DELAY_CALLERS_MAX: usize = 16;
/// Longest time for which the caller of an unsynced commit yields to the leader before it sleeps.
pub const UNSYNCED_WAIT_MAX: std::time::Duration = std::time::Duration::from_micros(20);
/// Commit groups that one leader serves before it gives leadership away.
pub const LEADER_GROUPS_MAX: usize = 4;
/// Frozen memtables that may wait for their flush beside the active one.
pub const FROZEN_MEMTABLES_MAX: usize = 1;
/// Fewest bytes that an entry's target takes in a frame.
pub const TARGET_BYTES_MIN: usize = 11;
/// Shortest and longest time between two looks for what has expired, in milliseconds.
pub const EXPIRY_TICK_MS: u64 = 250;
/// Longest time between two looks for what has expired, in milliseconds.
pub const EXPIRY_TICK_MS_MAX: u64 = 5000;
/// Shortest erasure deadline of a table, in milliseconds. Each pass of the erasure looks at all
/// SSTables that may hold what was retracted, and at all free space.
pub const ERASE_AFTER_MS_MIN: u64 = 60_000;
/// Retractions that the erasure looks for at once, and bytes of what names them. More are erased in
/// several rounds, each of which looks at the SSTables again.
pub const ERASE_ROUND_MAX: usize = 65_536;
/// See [`ERASE_ROUND_MAX`].
pub const ERASE_ROUND_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most bytes of the ring that are overwritten with zeros at once, while commits wait.
pub const ERASE_RING_BYTES: usize = 256 * 1024;

/// Windows in the time to live of a timeline table.
pub const TTL_WINDOWS: u64 = 20;
/// Most pieces in the grid of a table: times to live that its data were written under.
pub const GRID_PIECES_MAX: usize = 64;
/// Buckets in which an SSTable counts when its entries' own times to live end.
pub const OWN_TTL_BUCKETS_MAX: usize = 16;
/// How far the expiry clock may run ahead of its mark in the superblock, in milliseconds. While a
/// table has a TTL, a superblock is written every half of it.
pub const CLOCK_LEASE_MS: u64 = 60_000;

/// Longest payload segment before its footer: what references reach, 2^24 units of 16 bytes.
pub const SEGMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Highest number of a segment: 40 bits of a reference. Numbers are shared with SSTables.
pub const SEGMENT_NUMBER_MAX: u64 = (1 << 40) - 1;
/// Most segments that the entries of one SSTable refer to: its record must fit in the manifest's.
pub const SEGMENTS_PER_SSTABLE_MAX: usize = 65_536;
/// An entry of a message with two or more targets keeps up to so many bytes (payload, event time
/// and origin) to itself; a longer one goes to a payload segment.
///
/// Measured in bytes: a shared payload costs a reader one record more, so it must at least halve
/// what is written, even where it saves least: two entries, a flush and one compaction. That is so
/// from 52 bytes on, rounded up; a test counts it again (`compaction/sharing.rs`).
pub const INLINE_BYTES_MAX: usize = 64;
