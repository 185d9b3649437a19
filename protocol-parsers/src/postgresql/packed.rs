//! Prepared statements in as few bytes as they take, for a connection that is quiet.

use std::sync::Arc;

use super::statements::{Named, Statement, Statements, Verb};
use crate::leb128;

/// Oldest first: lengths of name and sanitised text (see [`leb128`]), both, and a byte: the number of the verb, [`WHOLE`].
#[derive(Default)]
pub(super) struct Packed(Box<[u8]>);

const WHOLE: u8 = 0x80;

const VERBS: [Verb; 5] = [Verb::Begin, Verb::Delete, Verb::Insert, Verb::Select, Verb::Update];

impl Packed {
    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        self.0.len()
    }

    /// The statements as they were.
    pub(super) fn unpack(&self) -> Statements {
        let mut statements = Statements::default();
        let mut rest = &*self.0;
        while let Some((name, statement)) = take(&mut rest) {
            statements.parse(name, &Arc::new(statement));
            statements.parsed();
        }
        statements
    }
}

impl Statements {
    /// All that is prepared, if nothing is under way and it can be packed: not with a portal, nor with trace context, nor if the
    /// sanitised text would not be summed up as the text itself was.
    pub(super) fn pack(&self) -> Option<Packed> {
        if self.is_under_way() {
            return None;
        }
        let mut all: Vec<(&[u8], &Named)> = self.all().collect();
        all.sort_by_key(|(_, named)| named.parse);
        let mut bytes = Vec::new();
        for (name, Named { statement, .. }) in all {
            let Statement { text, digest, whole, verb } = &**statement;
            let query = text.str(digest.query).as_bytes();
            let again = Statement::new(query, true);
            if digest.context.is_some() || again.texts() != statement.texts() {
                return None;
            }
            leb128::push(&mut bytes, name.len());
            leb128::push(&mut bytes, query.len());
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(query);
            let verb = VERBS.iter().position(|one| Some(*one) == *verb).map_or(0, |place| place + 1);
            bytes.push(u8::try_from(verb).unwrap_or(0) | if *whole { WHOLE } else { 0 });
        }
        Some(Packed(bytes.into()))
    }
}

/// The next statement, and its name.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Statement)> {
    let (name, query) = (leb128::take(bytes)?, leb128::take(bytes)?);
    let (name, query) = (bytes.split_off(..name)?, bytes.split_off(..query)?);
    let flags = *bytes.split_off_first()?;
    let verb = VERBS.get(usize::from(flags & !WHOLE).wrapping_sub(1)).copied();
    Some((name, Statement { whole: flags & WHOLE != 0, verb, ..Statement::new(query, true) }))
}
