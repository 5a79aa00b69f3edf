//! Reads of twenty entries, from the memtable and from SSTables.

use criterion::{Criterion, Throughput};
use tidelog_benches::scan::{Placement, Scans};
use tidelog_benches::{Parameters, Size};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (placement, name) in
        [(Placement::Memtable, "scan, memtable"), (Placement::Sstables, "scan, SSTables")]
    {
        scan(&mut criterion, placement, name);
    }
    criterion.final_summary();
}

fn scan(criterion: &mut Criterion, placement: Placement, name: &str) {
    let mut group = criterion.benchmark_group(name);
    let mut scans = Scans::new(Parameters::new(Size::Large), placement);
    group.throughput(Throughput::Elements(1));
    group.bench_function("newest 20", |bencher| bencher.iter(|| scans.newest()));
    group.bench_function("20 forward", |bencher| bencher.iter(|| scans.forward()));
    group.finish();
}
