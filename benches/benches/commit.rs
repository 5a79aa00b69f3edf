//! Commits: durable alone and from many threads, and buffered in batches.

use criterion::{Criterion, Throughput};
use std::time::Instant;
use tidelog_benches::commit::Commits;
use tidelog_benches::{Parameters, Size};
use tidelog_engine::Durability;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    commit(&mut criterion);
    criterion.final_summary();
}

fn commit(criterion: &mut Criterion) {
    let parameters = Parameters::new(Size::Large);
    let mut group = criterion.benchmark_group("commit");
    let mut commits = Commits::new(parameters.clone());

    group.throughput(Throughput::Elements(1));
    group.bench_function("sync, one message", |bencher| {
        bencher.iter(|| commits.one(Durability::Sync));
    });
    group.bench_function(format!("sync, {} threads", parameters.threads), |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            let mut committed = 0;
            while committed < iterations {
                committed += commits.threads();
            }
            // A round commits more than was asked for: the time of one commit is what counts.
            start.elapsed().mul_f64(iterations as f64 / committed as f64)
        });
    });
    group.throughput(Throughput::Elements(parameters.batch));
    group.bench_function(format!("buffered, {} messages", parameters.batch), |bencher| {
        bencher.iter(|| commits.batch(Durability::Buffered));
    });
    group.finish();
    commits.check();
}
