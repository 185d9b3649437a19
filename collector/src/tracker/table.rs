//! The connections tracked, in the order in which they were last used.
//!
//! In: entries. Out: small indices that stay valid while the entry lives, and the one that was quiet for longest. An entry is
//! taken out while it works and put back afterwards, so that the tracker stays free.

use super::entry::Entry;

/// The connections.
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Used last; or [`NOWHERE`].
    head: u32,
    /// Quiet for longest; or [`NOWHERE`].
    tail: u32,
    len: usize,
}

struct Slot {
    entry: Option<Box<Entry>>,
    /// Changes when the slot is given to another entry.
    generation: u32,
    /// Or [`NOWHERE`].
    newer: u32,
    /// Or [`NOWHERE`].
    older: u32,
}

/// No index: there are never so many slots.
const NOWHERE: u32 = u32::MAX;

impl Default for Table {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), head: NOWHERE, tail: NOWHERE, len: 0 }
    }
}

impl Table {
    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds one, as the last used.
    pub(super) fn insert(&mut self, entry: Box<Entry>) -> u32 {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot { entry: None, generation: 0, newer: NOWHERE, older: NOWHERE });
                // The limit on connections is far below.
                u32::try_from(self.slots.len() - 1).unwrap_or(NOWHERE)
            }
        };
        self.put(index, entry);
        self.link(index);
        self.len += 1;
        index
    }

    /// Takes an entry out to work with it.
    pub(super) fn take(&mut self, index: u32) -> Option<Box<Entry>> {
        self.slot_mut(index)?.entry.take()
    }

    /// Puts it back.
    pub(super) fn put(&mut self, index: u32, entry: Box<Entry>) {
        if let Some(slot) = self.slot_mut(index) {
            slot.entry = Some(entry);
        }
    }

    /// Frees the slot of an entry that was taken out for good.
    pub(super) fn remove(&mut self, index: u32) {
        self.unlink(index);
        if let Some(slot) = self.slot_mut(index) {
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(index);
            self.len -= 1;
        }
    }

    /// The entry was used just now.
    pub(super) fn touch(&mut self, index: u32) {
        if self.head != index {
            self.unlink(index);
            self.link(index);
        }
    }

    /// Which use of a slot this is.
    pub(super) fn generation(&self, index: u32) -> Option<u32> {
        self.slot(index).map(|slot| slot.generation)
    }

    /// An entry.
    pub(super) fn get(&self, index: u32) -> Option<&Entry> {
        self.slot(index)?.entry.as_deref()
    }

    /// Indices, quiet for longest first.
    pub(super) fn oldest(&self) -> impl Iterator<Item = u32> {
        let there = |index: u32| (index != NOWHERE).then_some(index);
        std::iter::successors(there(self.tail), move |index| there(self.slot(*index)?.newer))
    }

    fn link(&mut self, index: u32) {
        let older = std::mem::replace(&mut self.head, index);
        if let Some(slot) = self.slot_mut(index) {
            (slot.newer, slot.older) = (NOWHERE, older);
        }
        match self.slot_mut(older) {
            Some(slot) => slot.newer = index,
            None => self.tail = index,
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(slot) = self.slot_mut(index) else { return };
        let (newer, older) = (slot.newer, slot.older);
        match self.slot_mut(newer) {
            Some(slot) => slot.older = older,
            None => self.head = older,
        }
        match self.slot_mut(older) {
            Some(slot) => slot.newer = newer,
            None => self.tail = newer,
        }
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize)
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot> {
        self.slots.get_mut(index as usize)
    }
}
