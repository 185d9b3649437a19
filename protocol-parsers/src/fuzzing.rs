//! A stand-in for the tracker, and the fuzz targets built on it. For tests and `fuzz/` only.
//!
//! In: bytes, holes, closes and ticks. Out: what the parser said, checked against the contract on the way.

use std::collections::{BTreeMap, VecDeque};

use crate::contract::{
    Chunk, Close, Direction, Hole, Kept, KernelTime, Lost, MAX_REST, Malformed, Mark, Parser, Protocol, Role, Used,
};
use crate::detect::{Candidates, Detection, Sample};
use crate::exchange::{Emitted, Exchange, ExchangeId, Next, Output};

/// What one parser may hold: 256 waiting exchanges with heads of [`MAX_REST`] bytes at worst.
const MAX_HEAP: usize = 256 * (MAX_REST * 3 + 2048);

/// Drives one parser as the tracker does. Time is the number of events so far; thread 1 reads, thread 2 writes.
pub struct Feed {
    parser: Box<dyn Parser>,
    rest: [VecDeque<u8>; 2],
    first: [Mark; 2],
    offset: [u64; 2],
    malformed: u32,
    output: Output,
    open: BTreeMap<ExchangeId, bool>,
    /// Time of the last event.
    pub now: u64,
    /// Everything said so far.
    pub said: Vec<Emitted>,
    /// Why bytes were refused, in order.
    pub refused: Vec<&'static str>,
    /// What the connection turned into; nothing is fed any more then.
    pub next: Option<Next>,
}

impl Feed {
    /// Where the directions begin.
    pub const BEGIN: [u64; 2] = [1000, 5_000_000_000];

    /// A new connection of `protocol`.
    #[must_use]
    pub fn new(protocol: &Protocol, role: Option<Role>) -> Self {
        Self {
            parser: (protocol.parser)(role),
            rest: Default::default(),
            first: Default::default(),
            offset: Self::BEGIN,
            malformed: 0,
            output: Output::default(),
            open: BTreeMap::new(),
            now: 0,
            said: Vec::new(),
            refused: Vec::new(),
            next: None,
        }
    }

    fn mark(&self, dir: Direction) -> Mark {
        let offset = self.offset[dir.index()];
        let tid = if dir == Direction::Ingress { 1 } else { 2 };
        Mark { time: KernelTime(self.now), pid: 7, tid, task: 0, offset, wire_seq: offset as u32 }
    }

    fn over(&self) -> bool {
        self.next.is_some() || self.malformed >= 3
    }

    /// One call's bytes.
    pub fn data(&mut self, dir: Direction, bytes: &[u8]) {
        self.now += 1;
        if self.over() || bytes.is_empty() {
            return;
        }
        let mark = self.mark(dir);
        self.offset[dir.index()] += bytes.len() as u64;
        let rest = &mut self.rest[dir.index()];
        let kept = Kept { len: rest.len(), first: if rest.is_empty() { mark } else { self.first[dir.index()] } };
        rest.extend(bytes);
        let whole = rest.make_contiguous();
        let chunk = Chunk {
            dir,
            kept,
            offset: kept.first.offset,
            bytes: whole,
            begin: None,
            end: mark.time,
            pid: mark.pid,
            tid: mark.tid,
            task: 0,
            wire_seq: mark.wire_seq,
        };
        let used = self.parser.data(chunk, &mut self.output);
        match used {
            Ok(Used(used)) => {
                assert!(used <= whole.len(), "{used} of {} bytes consumed", whole.len());
                assert!(used > 0 || whole.len() < MAX_REST, "nothing of {} bytes consumed", whole.len());
                if used > 0 {
                    self.malformed = 0;
                    self.first[dir.index()] = chunk.mark(used);
                } else {
                    self.first[dir.index()] = kept.first;
                }
                rest.drain(..used);
                self.collect();
            }
            Err(Malformed(why)) => {
                self.refused.push(why);
                self.malformed += 1;
                self.collect();
                self.hole(dir, None, Lost::Malformed);
            }
        }
    }

    /// Missing bytes.
    pub fn hole(&mut self, dir: Direction, len: Option<u64>, why: Lost) {
        self.lose(dir, len.unwrap_or(0), len.is_some(), why);
    }

    /// `len` missing bytes; the parser is told how many they are, or not.
    pub fn lose(&mut self, dir: Direction, len: u64, told: bool, why: Lost) {
        self.now += 1;
        if self.over() {
            return;
        }
        // What was kept precedes the hole and counts as part of it.
        let dropped = self.rest[dir.index()].len() as u64;
        self.rest[dir.index()].clear();
        let mark = self.mark(dir);
        self.offset[dir.index()] += len;
        let hole = Hole { dir, offset: mark.offset - dropped, len: told.then_some(len + dropped), why, mark };
        self.parser.hole(hole, &mut self.output);
        self.collect();
    }

    /// An end.
    pub fn close(&mut self, dir: Option<Direction>, how: Close) {
        self.now += 1;
        if self.next.is_none() {
            self.parser.close(dir, how, KernelTime(self.now), &mut self.output);
            self.collect();
        }
    }

    /// A second passes.
    pub fn tick(&mut self) {
        self.now += 1;
        if !self.over() {
            self.parser.tick(KernelTime(self.now), &mut self.output);
            self.collect();
        }
    }

    /// The parser.
    #[must_use]
    pub fn parser(&self) -> &dyn Parser {
        &*self.parser
    }

    /// The exchanges done so far.
    pub fn done(&self) -> impl Iterator<Item = &Exchange> {
        self.said.iter().filter_map(|said| if let Emitted::Done(exchange) = said { Some(&**exchange) } else { None })
    }

    /// Everything said, one line each; `line` shows an exchange.
    pub fn log(&self, line: impl Fn(&Exchange) -> String) -> Vec<String> {
        let line = |said: &Emitted| match said {
            Emitted::Begun { id, first, .. } => format!("begun {} at {}", id.0, first.time.0),
            Emitted::Answered { id, first } => format!("answered {} at {}", id.0, first.time.0),
            Emitted::Done(exchange) => format!("done {} {}", exchange.id.0, line(exchange)),
            Emitted::Switch(next) => format!("switch {next:?}"),
        };
        self.said.iter().map(line).collect()
    }

    /// Checks what was said against the contract of [`Emitted`].
    fn collect(&mut self) {
        for said in self.output.emitted.drain(..) {
            assert!(self.next.is_none(), "{said:?} behind the switch");
            match &said {
                Emitted::Begun { id, .. } => assert!(self.open.insert(*id, false).is_none(), "{id:?} begun twice"),
                Emitted::Answered { id, .. } => {
                    assert_eq!(self.open.insert(*id, true), Some(false), "{id:?} answered, not once while open");
                }
                Emitted::Done(done) => {
                    let answered = self.open.remove(&done.id);
                    assert!(answered.is_some(), "{:?} done, but not open", done.id);
                    assert!(done.response.is_none() || answered == Some(true), "{:?} not answered", done.id);
                    assert!(done.request.first.time <= done.request.last.time);
                    assert!(done.response.is_none_or(|side| side.first.time <= side.last.time));
                }
                Emitted::Switch(next) => self.next = Some(*next),
            }
            self.said.push(said);
        }
        assert!(self.parser.heap() <= MAX_HEAP, "{} bytes of heap", self.parser.heap());
    }

    /// Nothing is open: to be called behind `close(None)`.
    pub fn assert_all_done(&self) {
        assert!(self.open.is_empty(), "never done: {:?}", self.open);
    }
}

/// Runs a fuzz target over its committed corpus, and over every prefix of it.
pub fn corpus(name: &str, target: impl Fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = std::fs::read_dir(&folder).expect("the corpus is committed");
    let mut replayed = 0;
    for file in files {
        let bytes = std::fs::read(file.expect("readable").path()).expect("readable");
        (0..=bytes.len()).for_each(|end| target(&bytes[..end]));
        replayed += 1;
    }
    assert!(replayed >= 5, "{replayed} files in {}", folder.display());
}

/// Fuzz target: `data` is a script of pieces for one connection of `protocol`, each led by a byte that says what it is.
pub fn script(protocol: &Protocol, data: &[u8]) {
    let Some((head, mut script)) = data.split_first() else { return };
    let role = [None, Some(Role::Client), Some(Role::Server)][usize::from(head % 3)];
    let mut feed = Feed::new(protocol, role);
    while let Some((&what, rest)) = script.split_first() {
        let dir = if what & 1 == 0 { Direction::Ingress } else { Direction::Egress };
        let len = usize::from(what >> 3);
        script = rest;
        match what >> 1 & 3 {
            // Up to the next 0xff, or a counted number of bytes.
            0 | 1 => {
                let end = match len {
                    0 => script.iter().position(|byte| *byte == 0xff).unwrap_or(script.len()),
                    len => (len * 8).min(script.len()),
                };
                let (piece, rest) = script.split_at(end);
                feed.data(dir, piece);
                script = if len == 0 { rest.get(1..).unwrap_or_default() } else { rest };
            }
            2 => {
                let why = [Lost::Cut, Lost::Fault, Lost::Gap, Lost::Contended][len % 4];
                feed.hole(dir, (len != 31).then_some(1 + len as u64), why);
            }
            _ => match len {
                0 => feed.close(Some(dir), Close::Fin),
                1 => feed.close(Some(dir), Close::Reset),
                2 => feed.tick(),
                // So long that parsers rest.
                3 => (0..3).for_each(|_| feed.tick()),
                _ => {
                    // As long as a large write.
                    let fill = script.first().copied().unwrap_or_default();
                    feed.data(dir, &vec![fill; len * 1024]);
                }
            },
        }
        let _ = feed.parser().wants(dir);
    }
    feed.close(None, Close::Fin);
    if feed.next.is_none() {
        feed.assert_all_done();
    }
}

/// Fuzz target: the first bytes of a connection, of both directions, divided where the first two bytes say.
pub fn detect(data: &[u8]) {
    let Some((&[flags, at], bytes)) = data.split_first_chunk::<2>() else { return };
    let (ingress, egress) = bytes.split_at(usize::from(at).min(bytes.len()));
    // What speaks for a protocol, or for none.
    let priors = crate::PROTOCOLS.get(usize::from(flags >> 3 & 7)).map(|protocol| protocol.priors);
    let port = priors.and_then(|priors| priors.ports.first().copied());
    let program = priors.and_then(|priors| priors.programs.first().copied()).unwrap_or_default();
    let sample = Sample {
        ingress,
        egress,
        from_start: flags & 1 != 0,
        role: [None, Some(Role::Client), Some(Role::Server)][usize::from(flags >> 1) % 3],
        tls: flags & 128 != 0,
        port,
        program,
    };
    if let Detection::Is(_, role) = crate::detect::detect(&sample, &mut Candidates::default()) {
        assert!(role.is_some(), "a request was seen: its sender is known");
    }
}

/// Fuzz target: the start of an HTTP/1 message, and the same made too long to wait for where the first byte says.
pub fn heads(data: &[u8]) {
    let Some((at, head)) = data.split_first() else { return };
    crate::http1::oracle::compare(head);
    if let Some((front, back)) = head.split_at_checked(usize::from(*at)) {
        crate::http1::oracle::compare(&[front, &[b'x'; MAX_REST], back].concat());
    }
}

/// Fuzz target: the first byte says dialect and wholeness, the rest is a query.
pub fn sql(data: &[u8]) {
    use crate::exchange::Text;
    use crate::sql::{Dialect, MAX_QUERY, digest};

    let Some((&flags, query)) = data.split_first() else { return };
    let dialect = [Dialect::Mysql, Dialect::MysqlNoBackslash, Dialect::Postgresql][usize::from(flags >> 1) % 3];
    let whole = flags & 1 != 0;
    let mut text = Text::default();
    let first = digest(query, dialect, whole, &mut text);
    let sanitised = text.str(first.query);
    assert!(sanitised.len() <= 3 * query.len().min(MAX_QUERY) + 1, "longer than the query");
    assert!((whole && query.len() <= MAX_QUERY) || sanitised.ends_with('?'), "cut and not marked: {sanitised:?}");
    let summary = first.summary.map(|span| text.str(span));
    assert!(summary.is_none_or(|summary| (1..=255).contains(&summary.len())), "{summary:?}");
    let mut again = Text::default();
    // What is not UTF-8 got longer.
    if sanitised.len() <= MAX_QUERY {
        let second = digest(sanitised.as_bytes(), dialect, true, &mut again);
        assert_eq!(again.str(second.query), sanitised, "sanitised twice");
    }
}
