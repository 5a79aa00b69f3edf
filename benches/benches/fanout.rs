//! One message to a thousand inboxes, and the newest entries of an inbox.

use criterion::{Criterion, Throughput};
use tidelog_benches::fanout::FanOuts;
use tidelog_benches::{Parameters, Size};
use tidelog_engine::Durability;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    fanout(&mut criterion);
    criterion.final_summary();
}

fn fanout(criterion: &mut Criterion) {
    let parameters = Parameters::new(Size::Large);
    let mut group = criterion.benchmark_group("fanout");
    let mut fan_outs = FanOuts::new(parameters.clone());

    group.throughput(Throughput::Elements(u64::from(parameters.members)));
    group.bench_function(format!("to {} inboxes, buffered", parameters.members), |bencher| {
        bencher.iter(|| fan_outs.send(Durability::Buffered));
    });
    group.bench_function(format!("to {} inboxes, sync", parameters.members), |bencher| {
        bencher.iter(|| fan_outs.send(Durability::Sync));
    });

    // Reads want full inboxes, also where the groups above were filtered out.
    for _ in 0..parameters.conversations * 5 {
        fan_outs.send(Durability::Buffered);
    }
    fan_outs.compact();
    group.throughput(Throughput::Elements(1));
    group.bench_function("newest 20 of an inbox", |bencher| bencher.iter(|| fan_outs.newest()));
    group.finish();
    fan_outs.check_all();
}
