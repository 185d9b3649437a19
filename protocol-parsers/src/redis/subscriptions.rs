//! How many subscriptions a connection has, by what the server confirms: `UNSUBSCRIBE` without arguments is answered once for
//! each of them.

use super::reply::Told;
use super::table::Family;

/// Numbers of subscriptions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subscriptions {
    channels: u32,
    patterns: u32,
    shards: u32,
    /// Some may be older than what was seen.
    pub(super) unknown: bool,
}

impl Subscriptions {
    /// There are some: RESP2 sends nothing but messages and answers to subscriptions then.
    pub(super) fn any(&self) -> bool {
        self.channels + self.patterns + self.shards > 0
    }

    /// Those of a family, where known.
    pub(super) fn of(&self, family: Family) -> Option<u32> {
        let known = match family {
            Family::Channel => self.channels,
            Family::Pattern => self.patterns,
            Family::Shard => self.shards,
        };
        Some(known).filter(|_| !self.unknown)
    }

    /// The server said so, and how many there are now: of channels and patterns together, of shard channels alone.
    pub(super) fn told(&mut self, told: Told, now: Option<u32>) {
        let (family, more) = match told {
            Told::Subscribed(family) => (family, true),
            Told::Unsubscribed(family) => (family, false),
            Told::Message => return,
        };
        let (both, shards) = (self.channels.saturating_add(self.patterns), self.shards);
        let (number, before) = match family {
            Family::Channel => (&mut self.channels, both),
            Family::Pattern => (&mut self.patterns, both),
            Family::Shard => (&mut self.shards, shards),
        };
        match now {
            Some(0) if family != Family::Shard => *self = Self { shards: self.shards, ..Self::default() },
            // To subscribe twice changes nothing.
            Some(now) if more && now > before => *number = number.saturating_add(1),
            Some(now) if !more && now < before => *number = number.saturating_sub(1),
            Some(_) => {}
            None => self.unknown = true,
        }
    }
}
