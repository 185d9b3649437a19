//! What stays of the queue while nothing waits in it.

use super::{Pairing, Trust};
use crate::contract::Role;
use crate::postgresql::packed::Packed;

/// What later requests depend on.
#[derive(Default)]
pub(in crate::postgresql) struct Lasting {
    database: Box<[u8]>,
    statements: Packed,
    next: u64,
    trust: Trust,
    ready: bool,
    skipping: bool,
    copying: bool,
    idle: u8,
    owed: u32,
}

impl Lasting {
    /// Bytes of heap.
    pub(in crate::postgresql) fn heap(&self) -> usize {
        self.database.len() + self.statements.heap()
    }
}

impl Pairing {
    /// What stays, if nothing waits.
    pub(in crate::postgresql) fn rest(&mut self) -> Option<Lasting> {
        let waits = !self.units.is_empty()
            || !self.held.is_empty()
            || self.aside.is_some()
            || self.open.is_some()
            || self.answer.is_some();
        if waits {
            return None;
        }
        let Self { next, trust, ready, skipping, copying, idle, owed, .. } = *self;
        let statements = self.statements.pack()?;
        Some(Lasting {
            database: std::mem::take(&mut self.database),
            statements,
            next,
            trust,
            ready,
            skipping,
            copying,
            idle,
            owed,
        })
    }

    /// The queue as it was.
    pub(in crate::postgresql) fn wake(role: Role, lasting: Lasting) -> Self {
        let Lasting { database, statements, next, trust, ready, skipping, copying, idle, owed } = lasting;
        Self {
            database,
            statements: statements.unpack(),
            next,
            trust,
            ready,
            skipping,
            copying,
            idle,
            owed,
            ..Self::new(role)
        }
    }
}
