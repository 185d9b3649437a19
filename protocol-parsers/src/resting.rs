//! Parsers that take little memory while their connection is quiet.
//!
//! Most connections of a node wait for their next exchange. What a parser needs only while something is under way lies in a
//! box, which goes when a second passed in which nothing came and nothing is under way; what later exchanges depend on stays.

use crate::contract::{Chunk, Close, Direction, Hole, KernelTime, Malformed, Parser, Used, Wants};
use crate::exchange::Output;

/// A parser of which little stays while nothing is under way.
pub(crate) trait Rests: Parser + Sized {
    /// What later exchanges depend on. The default is that of a new connection.
    type Lasting: Default + Send;

    /// Gives up what has to stay, if nothing is under way; the parser itself is dropped then.
    fn rest(&mut self) -> Option<Self::Lasting>;

    /// The parser as it was before.
    fn wake(lasting: Self::Lasting) -> Self;

    /// Bytes of heap of what stays.
    fn heap_of(lasting: &Self::Lasting) -> usize;
}

/// A parser that rests when it can.
pub(crate) struct Resting<P: Rests> {
    /// What is in use if there is no parser.
    lasting: P::Lasting,
    awake: Option<Box<P>>,
    /// Something came since the last tick.
    moved: bool,
}

impl<P: Rests> Resting<P> {
    /// One that waits for its first bytes.
    pub(crate) fn new(lasting: P::Lasting) -> Self {
        Self { lasting, awake: None, moved: false }
    }

    /// One with something under way.
    pub(crate) fn awake(parser: P) -> Self {
        Self { lasting: P::Lasting::default(), awake: Some(Box::new(parser)), moved: true }
    }

    #[inline(always)]
    fn parser(&mut self) -> &mut P {
        self.moved = true;
        let Self { lasting, awake, .. } = self;
        awake.get_or_insert_with(|| Box::new(P::wake(std::mem::take(lasting))))
    }
}

impl<P: Rests> Parser for Resting<P> {
    fn data(&mut self, chunk: Chunk<'_>, out: &mut Output) -> Result<Used, Malformed> {
        self.parser().data(chunk, out)
    }

    fn hole(&mut self, hole: Hole, out: &mut Output) {
        self.parser().hole(hole, out);
    }

    fn close(&mut self, dir: Option<Direction>, how: Close, at: KernelTime, out: &mut Output) {
        self.parser().close(dir, how, at, out);
    }

    fn tick(&mut self, now: KernelTime, out: &mut Output) {
        let moved = std::mem::take(&mut self.moved);
        let Some(parser) = &mut self.awake else { return };
        parser.tick(now, out);
        if !moved && let Some(lasting) = parser.rest() {
            (self.lasting, self.awake) = (lasting, None);
        }
    }

    fn wants(&self, dir: Direction) -> Wants {
        self.awake.as_ref().map_or(Wants::Bytes, |parser| parser.wants(dir))
    }

    fn heap(&self) -> usize {
        size_of::<Self>() + self.awake.as_ref().map_or_else(|| P::heap_of(&self.lasting), |parser| parser.heap())
    }
}
