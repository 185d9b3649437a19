//! Random trace and span ids.
//!
//! In: a seed (from the kernel's random source; fixed in tests). Out: ids that are not zero, by xoshiro256++: ids need to be unique,
//! not secret.

use crate::model::{SpanId, TraceId};

/// A generator of ids.
#[derive(Clone, Debug)]
pub struct IdGenerator {
    state: [u64; 4],
}

impl IdGenerator {
    /// Begins at a seed; any value will do.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(seed.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        if state == [0; 4] {
            // The one state it would never leave.
            state = [1; 4];
        }
        Self { state }
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A new trace id.
    pub fn trace(&mut self) -> TraceId {
        let id = u128::from(self.next()) << 64 | u128::from(self.next());
        TraceId(id.max(1).to_be_bytes())
    }

    /// A new span id.
    pub fn span(&mut self) -> SpanId {
        SpanId(self.next().max(1).to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_repeat_with_their_seed_and_never_within_a_run() {
        let mut first = IdGenerator::new([7; 32]);
        let mut second = IdGenerator::new([7; 32]);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let id = first.span();
            assert_eq!(id, second.span());
            assert!(seen.insert(id));
        }
        let mut zero = IdGenerator::new([0; 32]);
        assert_ne!(zero.trace(), zero.trace());
    }
}
