//! The parsers and the sanitiser alone, each load of the library.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sidelight_benches::{GROUPS, Load};

fn parsers(c: &mut Criterion) {
    for (name, loads) in GROUPS {
        let mut group = c.benchmark_group(*name);
        for Load { name, bytes, mut run } in loads() {
            group.throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(name, |b| b.iter(&mut run));
        }
        group.finish();
    }
}

criterion_group!(benches, parsers);
criterion_main!(benches);
