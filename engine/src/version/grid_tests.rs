use super::grid::{Grid, Part, Piece};
use crate::limits::GRID_PIECES_MAX;
use crate::options::TableOptions;
use proptest::prelude::*;
use std::time::Duration;

fn minute() -> Grid {
    Grid::new(&TableOptions::timeline().ttl(Duration::from_secs(60)))
}

fn part(window: u64, until_ms: u64) -> Part {
    Part { window, until_ms }
}

#[test]
fn a_time_to_live_has_twenty_windows() {
    let grid = minute();
    assert_eq!(grid.pieces(), [Piece { from_ms: 0, width_ms: 3000 }]);
    assert_eq!(grid.window_of(0), 0);
    assert_eq!(grid.window_of(2999), 0);
    assert_eq!(grid.window_of(3000), 3000);
    assert_eq!(Grid::new(&TableOptions::timeline()).window_of(u64::MAX), 0);
    let keyed = TableOptions::keyed().ttl(Duration::from_secs(60));
    assert_eq!(Grid::new(&keyed).window_of(9999), 0, "keyed tables are not cut");
    let least = Grid::new(&TableOptions::timeline().ttl(Duration::from_millis(1)));
    assert_eq!(least.window_of(7), 7);
}

#[test]
fn an_altered_width_begins_a_piece() {
    let grid = minute().altered(100_000, 9000, |_, _| true);
    assert_eq!(grid.window_of(99_999), 99_000);
    assert_eq!(grid.window_of(100_000), 100_000);
    assert_eq!(grid.window_of(108_999), 100_000);
    assert_eq!(grid.window_of(109_000), 109_000);
    assert_eq!(grid.altered(200_000, 9000, |_, _| true), grid, "the same width changes nothing");
    let again = grid.altered(100_000, 5, |_, _| true);
    assert_eq!(again.pieces()[1], Piece { from_ms: 100_000, width_ms: 5 });
    let pruned = grid.altered(200_000, 0, |from, end| (from, end) != (0, 100_000));
    assert_eq!(
        pruned.pieces(),
        [Piece { from_ms: 100_000, width_ms: 9000 }, Piece { from_ms: 200_000, width_ms: 0 }]
    );
    assert_eq!(pruned.window_of(5), 100_000, "what is older belongs to the first piece");
    let many = (1..200).fold(minute(), |grid, n| grid.altered(n * 1000, n, |_, _| true));
    assert_eq!(many.pieces().len(), GRID_PIECES_MAX);
}

#[test]
fn a_short_flush_is_not_cut_and_a_long_one_into_few_parts() {
    let grid = minute();
    assert_eq!(grid.cut(3000, 5999), [part(3000, u64::MAX)]);
    assert_eq!(grid.cut(1000, 5800), [part(3000, u64::MAX)], "1.6 widths");
    assert_eq!(grid.cut(1000, 5801), [part(3000, 3401), part(3000, u64::MAX)]);
    assert_eq!(grid.cut(0, 12_000), [part(3000, 4000), part(6000, 8000), part(12_000, u64::MAX)]);
    let forever = Grid::new(&TableOptions::timeline());
    assert_eq!(forever.cut(0, u64::MAX), [part(0, u64::MAX)]);
    let altered = forever.altered(100_000, 3000, |_, _| true);
    assert_eq!(altered.cut(99_000, 103_000), [part(103_000, u64::MAX)]);
    assert_eq!(
        altered.cut(5, 104_900),
        [part(0, 100_000), part(100_000, 102_450), part(103_000, u64::MAX)]
    );
}

#[test]
fn hostile_pieces_are_refused() {
    let piece = |from_ms| Piece { from_ms, width_ms: 1 };
    assert_eq!(Grid::from_pieces(Vec::new()), None);
    assert_eq!(Grid::from_pieces(vec![piece(5), piece(5)]), None);
    assert_eq!(Grid::from_pieces((0..65).map(piece).collect()), None);
    assert!(Grid::from_pieces((0..64).map(piece).collect()).is_some());
}

fn any_grid() -> impl Strategy<Value = Grid> {
    prop::collection::vec((0u64..5000, 0u64..300), 0..6).prop_map(|alterations| {
        let forever = Grid::new(&TableOptions::timeline());
        alterations
            .into_iter()
            .fold(forever, |grid, (from, width)| grid.altered(from, width, |_, _| true))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Windows rise with time, over the parts of one flush and over those of the next.
    #[test]
    fn later_entries_never_lie_in_lower_windows(
        grid in any_grid(),
        mut times in prop::collection::vec(0u64..6000, 2..12),
    ) {
        times.sort_unstable();
        let mut last = 0;
        for pair in times.windows(2) {
            let (oldest, newest) = (pair[0], pair[1]);
            prop_assert!(grid.window_of(oldest) <= grid.window_of(newest));
            let parts = grid.cut(oldest, newest);
            prop_assert_eq!(parts.last().map(|part| part.until_ms), Some(u64::MAX));
            let mut from = oldest;
            for part in parts {
                prop_assert!(part.window >= last);
                prop_assert!(part.until_ms >= from);
                prop_assert!(part.window <= newest, "no window begins behind what it holds");
                last = part.window;
                from = part.until_ms;
            }
        }
    }
}
