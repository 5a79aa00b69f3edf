//! Opening a file that no writer has closed, to the first checked read.

use criterion::{BatchSize, Criterion, Throughput};
use tidelog_benches::recovery::Recovery;
use tidelog_benches::{Parameters, Size};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    recovery(&mut criterion);
    criterion.final_summary();
}

fn recovery(criterion: &mut Criterion) {
    let parameters = Parameters::new(Size::Large);
    let recovery = Recovery::new(parameters.clone());
    let mut group = criterion.benchmark_group("recovery");
    group.sample_size(10);
    group.throughput(Throughput::Elements(parameters.messages));
    group.bench_function(format!("{} messages in the log", parameters.messages), |bencher| {
        bencher.iter_batched(
            || recovery.crashed(),
            // Both are returned, so that closing and deleting are not measured.
            |crashed| (recovery.open(&crashed), crashed),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}
