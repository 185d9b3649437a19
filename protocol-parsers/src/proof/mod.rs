//! What must hold for every protocol, proved over recorded sessions: splits do not matter; a connection joined in the middle
//! or with bytes missing never gives a wrong value; and it is right again where its protocol says so. For tests only.
//!
//! In: a [`Session`] (the calls of one connection, in their order) and what its protocol promises ([`Proof`]). The exchanges
//! of the whole session are the truth; what comes of the damaged one is compared by [`Facts`]. A broken promise panics with
//! both.

mod facts;
mod session;
#[cfg(test)]
mod tests;

pub use facts::{Bytes, Facts};
pub use session::{Call, Session};

use crate::contract::{Close, Direction, Lost, Protocol};
use crate::fuzzing::Feed;

/// When exchanges must be right again behind a join or a loss.
#[derive(Clone, Copy, Debug)]
pub enum Heals {
    /// From the n-th quiet point behind it on: an exchange that begins when every older one was answered.
    Quiet(usize),
    /// From the n-th exchange that begins behind it on.
    Exchanges(usize),
    /// Nothing is promised, but that nothing is wrong.
    Unpromised,
}

/// A session and what is promised of it.
#[derive(Clone, Copy)]
pub struct Proof<'a> {
    /// Whose parser.
    pub protocol: &'static Protocol,
    /// What was said.
    pub session: &'a Session,
    /// Behind a join.
    pub joined: Heals,
    /// Behind missing bytes.
    pub lost: Heals,
    /// Values (named as in [`Facts::values`]) that must be there again when exchanges are right again, if the truth has them.
    pub needed: &'a [&'a str],
    /// What must never be found in an exchange.
    pub secrets: &'a [&'a str],
}

/// Bytes of one direction that nobody sees, by their positions in it.
#[derive(Clone, Copy, Debug)]
pub struct Missing {
    /// Direction.
    pub dir: Direction,
    /// Position of the first.
    pub start: usize,
    /// Position behind the last.
    pub end: usize,
    /// They are missed only when something behind them is seen.
    pub late: bool,
    /// The parser is told how many they are.
    pub measured: bool,
    /// Why.
    pub why: Lost,
}

/// Losses tried beside those at the edges of calls.
const LOSSES: usize = 1000;

/// Silences tried: everywhere, then here and there.
const PAUSES: u64 = 20;

/// Divisions tried.
const SPLITS: u64 = 100;

impl Proof<'_> {
    /// Everything below, seen from both ends of the connection.
    pub fn hold(&self) {
        for session in [self.session, &self.session.other_end()] {
            let proof = Proof { session, ..*self };
            proof.splits();
            proof.pauses();
            proof.joins();
            proof.losses();
        }
    }

    /// The exchanges of the whole session, in the order of their requests.
    #[must_use]
    pub fn truth(&self) -> Vec<Facts> {
        let (feed, _) = self.play((0, 0), None, &[]);
        self.facts(&feed)
    }

    /// However the bytes between two changes of direction are divided into calls, the exchanges are the same; and whether
    /// the parser is told its role or not.
    pub fn splits(&self) {
        let truth = self.truth();
        let turns = self.session.turns();
        let check = |told: bool, what: &str, divide: &mut dyn FnMut(usize) -> usize| {
            let mut feed = Feed::new(self.protocol, told.then_some(self.session.role));
            for Call { dir, bytes } in &turns {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (call, behind) = rest.split_at(divide(rest.len()));
                    feed.data(*dir, call);
                    rest = behind;
                }
            }
            self.close(&mut feed);
            let seen = self.facts(&feed);
            for (seen, truth) in seen.iter().zip(&truth) {
                assert_eq!(seen, truth, "{what}");
            }
            assert_eq!(seen.len(), truth.len(), "{what}");
        };
        check(true, "turn by turn", &mut |len| len);
        check(false, "turn by turn, the role untold", &mut |len| len);
        check(true, "byte by byte", &mut |_| 1);
        check(false, "byte by byte, the role untold", &mut |_| 1);
        for seed in 0..SPLITS {
            let mut random = Random(seed);
            let longest = [3, 20, 200][random.below(3)];
            check(true, &format!("divided by {seed}"), &mut |len| 1 + random.below(longest.min(len)));
        }
    }

    /// However long a connection is silent between two calls, the exchanges are the same: parsers rest meanwhile.
    pub fn pauses(&self) {
        let truth = self.truth();
        for seed in 0..PAUSES {
            let mut random = Random(seed);
            let mut feed = Feed::new(self.protocol, (seed % 2 == 0).then_some(self.session.role));
            for Call { dir, bytes } in &self.session.calls {
                if seed < 2 || random.chance(30) {
                    (0..3).for_each(|_| feed.tick());
                }
                feed.data(*dir, bytes);
            }
            self.close(&mut feed);
            assert_eq!(list(&self.facts(&feed)), list(&truth), "pauses {seed}");
        }
    }

    /// Joined at the beginning of each call, and in the middle of some.
    pub fn joins(&self) {
        let truth = self.truth();
        let mut random = Random(0);
        for (index, call) in self.session.calls.iter().enumerate() {
            self.join(&truth, index, 0);
            (0..3).for_each(|_| self.join(&truth, index, random.below(call.bytes.len())));
        }
    }

    /// Joined at every byte.
    pub fn joins_anywhere(&self) {
        let truth = self.truth();
        for (index, call) in self.session.calls.iter().enumerate() {
            (0..call.bytes.len()).for_each(|byte| self.join(&truth, index, byte));
        }
    }

    fn join(&self, truth: &[Facts], call: usize, byte: usize) {
        // In its middle, that call is damaged itself.
        let from = call + usize::from(byte > 0);
        for silent in [&[][..], &self.quiet(truth)] {
            let (feed, _) = self.play((call, byte), None, silent);
            let what = format!("joined at byte {byte} of call {call}, silent before {silent:?}");
            self.check(truth, &feed, from, self.joined, &what);
        }
    }

    /// The calls before which all that was asked is answered.
    fn quiet(&self, truth: &[Facts]) -> Vec<usize> {
        let open = |call: usize| truth.iter().any(|facts| self.begins(facts) < call && self.ends(facts) >= call);
        (0..self.session.calls.len()).filter(|call| !open(*call)).collect()
    }

    /// Without some bytes: around every edge of a call in some sizes, and everywhere at random.
    pub fn losses(&self) {
        let truth = self.truth();
        let mut random = Random(1);
        for dir in [Direction::Ingress, Direction::Egress] {
            let len = self.session.len(dir);
            let mut try_one = |start: usize, size: usize| {
                let missing = Missing {
                    dir,
                    start,
                    end: (start + size).min(len),
                    late: random.chance(50),
                    measured: random.chance(70),
                    why: [Lost::Gap, Lost::Cut, Lost::Fault, Lost::Contended][random.below(4)],
                };
                if missing.start < missing.end {
                    self.lose(&truth, missing);
                }
            };
            let mut edge = 0;
            for call in self.session.calls.iter().filter(|call| call.dir == dir) {
                for start in [edge.max(1) - 1, edge, edge + 1] {
                    for size in [1, 2, call.bytes.len(), call.bytes.len() + 1, call.bytes.len() * 2] {
                        try_one(start, size);
                    }
                }
                edge += call.bytes.len();
            }
            let mut places = Random(2);
            for _ in 0..if len > 0 { LOSSES / 2 } else { 0 } {
                let size = [4, 30, 300, len][places.below(4)].min(len);
                try_one(places.below(len), 1 + places.below(size));
            }
        }
    }

    /// Without some bytes.
    pub fn lose(&self, truth: &[Facts], missing: Missing) {
        for silent in [&[][..], &self.quiet(truth)] {
            let (feed, noticed) = self.play((0, 0), Some(&missing), silent);
            let what = format!("{missing:?}, silent before {silent:?}");
            self.check(truth, &feed, noticed + 1, self.lost, &what);
        }
    }

    /// Plays the session from a byte of a call on, with what is missing, silent for some seconds before some calls; gives also the
    /// last call at which what is missing was noticed.
    fn play(&self, (from, skip): (usize, usize), missing: Option<&Missing>, silent: &[usize]) -> (Feed, usize) {
        let mut feed = Feed::new(self.protocol, Some(self.session.role));
        let calls = &self.session.calls;
        if (from, skip) != (0, 0) {
            let mut unseen = [0, 0];
            calls[..from].iter().for_each(|call| unseen[call.dir.index()] += call.bytes.len());
            unseen[calls[from].dir.index()] += skip;
            for dir in [Direction::Ingress, Direction::Egress] {
                feed.lose(dir, unseen[dir.index()] as u64, false, Lost::Gap);
            }
        }
        let (mut at, mut unsaid, mut noticed) = ([0, 0], 0, from);
        for (index, call) in calls.iter().enumerate().skip(from) {
            if silent.contains(&index) {
                (0..3).for_each(|_| feed.tick());
            }
            let bytes = &call.bytes[if index == from { skip } else { 0 }..];
            let position = &mut at[call.dir.index()];
            let (start, end) = (*position, *position + bytes.len());
            *position = end;
            let Some(missing) = missing.filter(|missing| missing.dir == call.dir) else {
                feed.data(call.dir, bytes);
                continue;
            };
            let (lost_start, lost_end) = (missing.start.clamp(start, end), missing.end.clamp(start, end));
            let mut say = |feed: &mut Feed, unsaid: &mut usize| {
                if *unsaid > 0 {
                    feed.lose(call.dir, std::mem::take(unsaid) as u64, missing.measured, missing.why);
                    noticed = index;
                }
            };
            if lost_start > start || lost_start == lost_end {
                // Something of this direction is seen: what is missing in front is missed at the latest now.
                say(&mut feed, &mut unsaid);
            }
            feed.data(call.dir, &bytes[..lost_start - start]);
            unsaid += lost_end - lost_start;
            if !missing.late || lost_end < end {
                say(&mut feed, &mut unsaid);
            }
            feed.data(call.dir, &bytes[lost_end - start..]);
        }
        if let Some(missing) = missing.filter(|_| unsaid > 0) {
            feed.lose(missing.dir, unsaid as u64, missing.measured, missing.why);
            noticed = calls.len();
        }
        self.close(&mut feed);
        (feed, noticed)
    }

    fn close(&self, feed: &mut Feed) {
        feed.close(None, Close::Fin);
        if feed.next.is_none() {
            feed.assert_all_done();
        }
    }

    fn facts(&self, feed: &Feed) -> Vec<Facts> {
        let mut facts: Vec<_> = feed.done().map(Facts::of).collect();
        facts.sort_by_key(|facts| facts.request.first);
        for done in feed.done().filter(|_| !self.secrets.is_empty()) {
            let shown = format!("{done:?}");
            for secret in self.secrets {
                assert!(!shown.contains(secret), "{secret} is in {shown}");
            }
        }
        facts
    }

    /// Nothing seen is wrong, and from some exchange behind `call` on, all are there.
    fn check(&self, truth: &[Facts], feed: &Feed, call: usize, heals: Heals, what: &str) {
        let mut whose = vec![None; truth.len()];
        for seen in self.facts(feed) {
            let mut why = "of no request that was made".to_owned();
            let exact = truth.iter().any(|truth| truth.request.first == seen.request.first);
            let found = truth.iter().enumerate().find(|(index, truth)| {
                let candidate =
                    if exact { truth.request.first == seen.request.first } else { truth.request.holds(&seen.request) };
                candidate
                    && whose[*index].is_none()
                    && seen.agrees(truth).map_err(|wrong| why = format!("{wrong}\ntruth: {truth}")).is_ok()
            });
            let Some((index, _)) = found else {
                panic!("{what}: {why}\nseen:  {seen}\nall:\n{}", list(&self.facts(feed)));
            };
            whose[index] = Some(seen);
        }
        for index in self.healed(truth, call, heals) {
            let truth = &truth[index];
            let Some(seen) = &whose[index] else {
                panic!("{what}: not seen: {truth}\nall:\n{}", list(&self.facts(feed)));
            };
            let missing = self.needed.iter().find(|name| truth.value(name).is_some() && seen.value(name).is_none());
            let right = seen.incomplete == truth.incomplete && seen.response == truth.response && missing.is_none();
            assert!(right, "{what}: not right again\nseen:  {seen}\ntruth: {truth}\nall:\n{}", list(&self.facts(feed)));
        }
    }

    /// The call in which an exchange begins.
    fn begins(&self, facts: &Facts) -> usize {
        self.session.call_of(self.session.role.requests(), facts.request.first)
    }

    /// That in which it ends.
    fn ends(&self, facts: &Facts) -> usize {
        let requests = self.session.role.requests();
        match &facts.response {
            Some(response) => self.session.call_of(requests.opposite(), response.last),
            None => self.session.call_of(requests, facts.request.last),
        }
    }

    /// Those that must be right, if something was wrong before `call`.
    fn healed(&self, truth: &[Facts], call: usize, heals: Heals) -> std::ops::Range<usize> {
        let behind = |(index, facts): (usize, &Facts)| (self.begins(facts) >= call).then_some(index);
        let first = match heals {
            Heals::Unpromised => None,
            Heals::Exchanges(n) => truth.iter().enumerate().filter_map(behind).nth(n - 1),
            Heals::Quiet(n) => truth
                .iter()
                .enumerate()
                .filter_map(behind)
                .filter(|index| truth[..*index].iter().all(|older| self.ends(older) < self.begins(&truth[*index])))
                .nth(n - 1),
        };
        first.unwrap_or(truth.len())..truth.len()
    }
}

/// One line each.
#[must_use]
pub fn list(facts: &[Facts]) -> String {
    facts.iter().map(|facts| format!("{facts}\n")).collect()
}

/// SplitMix64: the same numbers in every run.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// True so often.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}
