//! A metric snapshot on its way into queue B, a piece at a time.
//!
//! In: a snapshot. Out: payloads of a bounded size, made only when there is room, so that 20,000 series (9 MiB encoded) pass
//! through a queue of less than one. A snapshot that is not through when the next one comes is superseded: the rest of it is
//! dropped and counted, because the newer one says more.

use std::sync::Arc;

use super::{
    encode::{Batch, MetricsEncoder},
    intake::points,
    pending::Payload,
};
use crate::metrics::Snapshot;

/// Points encoded at once: about 128 KiB.
const POINTS: usize = 256;

/// The snapshot being encoded.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    encoder: MetricsEncoder,
    rest: Option<Snapshot>,
    /// Encoded, and waiting for room.
    ready: Vec<Batch>,
}

impl Pieces {
    /// Begins a snapshot; gives the points of the one before that are not through.
    pub(crate) fn begin(&mut self, snapshot: Snapshot) -> u64 {
        let left = self.abandon();
        self.rest = Some(snapshot);
        left
    }

    /// Forgets the snapshot; gives the points of it that are not through.
    pub(crate) fn abandon(&mut self) -> u64 {
        let ready = std::mem::take(&mut self.ready).iter().map(|batch| batch.items as u64).sum::<u64>();
        ready + self.rest.take().as_ref().map_or(0, points)
    }

    /// Whether there is another piece.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.rest.is_none()
    }

    /// The next piece.
    pub(crate) fn next(&mut self, max_bytes: usize) -> Option<Payload> {
        if self.ready.is_empty() {
            let rest = self.rest.as_mut()?;
            let mut part = Snapshot { time: rest.time, instances: Vec::new() };
            let mut room = POINTS;
            // Cut from the end; points of an instrument stay together as far as a piece goes.
            while room > 0
                && let Some((instance, mut points)) = rest.instances.pop()
            {
                let piece = points.split_off(points.len().saturating_sub(room));
                room -= piece.len();
                part.instances.push((Arc::clone(&instance), piece));
                if !points.is_empty() {
                    rest.instances.push((instance, points));
                }
            }
            if rest.instances.is_empty() {
                self.rest = None;
            }
            self.encoder.encode(&part, max_bytes, &mut self.ready);
        }
        let batch = self.ready.pop()?;
        Some(Payload { body: batch.payload, items: batch.items as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixTime;

    #[test]
    fn a_snapshot_without_series_is_through_at_once() {
        let mut pieces = Pieces::default();
        pieces.begin(Snapshot { time: UnixTime(1), instances: Vec::new() });
        assert_eq!(pieces.next(1024), None);
        assert!(pieces.is_empty(), "whoever waits for it to be through would spin");
    }
}
