//! The structures of the engine: every case of `tidelog_benches::structures`, a group a suite.

use criterion::{BatchSize, Criterion, Throughput};
use tidelog_benches::structures::{Case, all};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    all().iter().for_each(|case| measure(&mut criterion, case));
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, case: &Case) {
    let mut group = criterion.benchmark_group(case.suite);
    group.throughput(Throughput::Elements(case.elements));
    group.bench_function(case.name, |bencher| {
        if case.repeatable {
            let mut operation = case.prepare();
            bencher.iter(|| case.run(&mut operation));
        } else {
            // The operation is returned, so that letting go of what it holds is not measured.
            bencher.iter_batched(
                || case.prepare(),
                |mut operation| {
                    case.run(&mut operation);
                    operation
                },
                BatchSize::PerIteration,
            );
        }
    });
    group.finish();
}
