//! What a connection's commands leave behind for later ones: the database in use, prepared statements.
//!
//! In: commands that were answered. Out: the namespace and the texts of those that follow. All of it is sanitised text.

use super::answer::Format;
use crate::exchange::{Db, DbSystem, Outcome, Span, Text};

/// One connection's.
pub(super) struct Session {
    pub(super) system: DbSystem,
    pub(super) format: Format,
    /// Statements are preceded by attributes: QUERY_ATTRIBUTES, if known.
    pub(super) attributes: Option<bool>,
    /// The database in use; empty: none. `None`: not known.
    namespace: Option<Box<str>>,
    pub(super) statements: Statements,
}

/// The longest name that is kept; the server's own limit is 64 characters of 4 bytes at most.
const MAX_NAME: usize = 256;

impl Default for Session {
    fn default() -> Self {
        Self {
            system: DbSystem::Mysql,
            format: Format::default(),
            attributes: None,
            namespace: None,
            statements: Statements::default(),
        }
    }
}

impl Session {
    pub(super) fn heap(&self) -> usize {
        self.namespace.as_ref().map_or(0, |name| name.len()) + self.statements.heap()
    }

    /// The database in use is `name`.
    pub(super) fn enter(&mut self, name: Option<&[u8]>) {
        let name = name.filter(|name| name.len() <= MAX_NAME).and_then(|name| std::str::from_utf8(name).ok());
        if self.namespace.as_deref() != name {
            self.namespace = name.map(Into::into);
        }
    }

    /// Commands are hidden from here on, or were.
    pub(super) fn forget(&mut self) {
        self.namespace = None;
        self.statements = Statements::default();
    }

    /// A command was answered so; `several`: with more than one result.
    pub(super) fn apply(&mut self, effect: &Effect, outcome: Option<Outcome>, several: bool) {
        match (effect, outcome) {
            (Effect::Nothing | Effect::Prepares { .. }, _) => {}
            // Nothing was done, but for what came before the error.
            (_, Some(Outcome::Error)) if !several => {}
            (Effect::Enters(name), Some(Outcome::Ok)) => self.enter(Some(name)),
            (Effect::Resets(name), Some(Outcome::Ok)) => {
                self.forget();
                self.enter(Some(name));
            }
            (Effect::Resets(_), _) => self.forget(),
            (Effect::Enters(_) | Effect::EntersAny | Effect::Moves, _) => self.enter(None),
        }
    }

    /// Writes the namespace into an exchange.
    pub(super) fn locate(&self, db: &mut Db, text: &mut Text) {
        db.namespace = self.namespace.as_deref().filter(|name| !name.is_empty()).map(|name| text.push(name.as_bytes()));
    }
}

/// What a command changes when it succeeds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Effect {
    #[default]
    Nothing,
    /// This database is in use.
    Enters(Box<[u8]>),
    /// A database is in use that nobody can tell, of which the command was a part.
    EntersAny,
    /// The same, but the command itself may have run in the one before.
    Moves,
    /// Its text, which has this summary, may be executed under a number; `moves`: that may change the database in use.
    Prepares { moves: bool, summary: Option<Span> },
    /// Another user's session, with this database.
    Resets(Box<[u8]>),
}

/// One prepared statement.
pub(super) struct Statement {
    id: u32,
    /// The text, then the summary.
    text: Box<str>,
    query: usize,
    pub(super) moves: bool,
    used: u32,
}

impl Statement {
    /// Its text, if that is known.
    pub(super) fn query(&self) -> Option<&str> {
        self.text.get(..self.query).filter(|query| !query.is_empty())
    }

    pub(super) fn summary(&self) -> Option<&str> {
        self.text.get(self.query..).filter(|summary| !summary.is_empty())
    }
}

/// The statements prepared on a connection, by number. When full, those not used for longest go; what is executed without a
/// known text has none.
#[derive(Default)]
pub(super) struct Statements {
    /// In the order of their numbers.
    all: Vec<Statement>,
    bytes: usize,
    clock: u32,
    last: Option<u32>,
}

/// `-1` stands for the statement prepared last (MariaDB).
const LAST: u32 = u32::MAX;

/// Statements, and bytes of their texts: 20 KiB with the entries.
const MAX_STATEMENTS: usize = 128;
const MAX_BYTES: usize = 12 * 1024;

impl Statements {
    fn heap(&self) -> usize {
        self.bytes + self.all.capacity() * size_of::<Statement>()
    }

    fn find(&self, id: u32) -> Result<usize, usize> {
        let id = if id == LAST { self.last.unwrap_or(LAST) } else { id };
        self.all.binary_search_by_key(&id, |statement| statement.id)
    }

    pub(super) fn get(&mut self, id: u32) -> Option<&Statement> {
        let index = self.find(id).ok()?;
        self.clock = self.clock.wrapping_add(1);
        let statement = self.all.get_mut(index)?;
        statement.used = self.clock;
        Some(statement)
    }

    /// A statement got its number: its text, and the summary of it.
    pub(super) fn insert(&mut self, id: u32, text: [Option<&str>; 2], moves: bool) {
        self.last = Some(id);
        self.remove(id);
        let [mut query, mut summary] = text.map(Option::unwrap_or_default);
        if query.len() + summary.len() > MAX_BYTES / 2 {
            (query, summary) = ("", "");
        }
        let text = [query, summary].concat();
        while self.all.len() >= MAX_STATEMENTS || self.bytes + text.len() > MAX_BYTES {
            let age = |statement: &Statement| self.clock.wrapping_sub(statement.used);
            let Some(oldest) = self.all.iter().max_by_key(|one| age(one)).map(|one| one.id) else { break };
            self.remove(oldest);
        }
        self.bytes += text.len();
        let Err(index) = self.find(id) else { return };
        let used = self.clock;
        self.all.insert(index, Statement { id, text: text.into(), query: query.len(), moves, used });
    }

    /// It is closed.
    pub(super) fn remove(&mut self, id: u32) {
        if let Ok(index) = self.find(id) {
            self.bytes -= self.all.remove(index).text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_bounded_and_those_not_used_go_first() {
        let mut statements = Statements::default();
        for id in 1..=MAX_STATEMENTS as u32 {
            statements.insert(id, [Some("SELECT ?"), Some("SELECT")], false);
        }
        assert_eq!(statements.get(1).and_then(Statement::query), Some("SELECT ?"));
        statements.insert(1000, [Some(&"x".repeat(100)), None], false);
        assert!(statements.get(1).is_some() && statements.get(1000).is_some());
        assert_eq!((2..=MAX_STATEMENTS as u32).filter(|id| statements.get(*id).is_none()).count(), 1);
        let long = "y".repeat(MAX_BYTES / 2);
        (2000..2010).for_each(|id| statements.insert(id, [Some(&long), None], false));
        assert!(statements.heap() <= 40 * 1024, "{}", statements.heap());
        assert!(statements.get(2009).is_some() && statements.get(2000).is_none());
        statements.insert(3000, [Some(&"z".repeat(MAX_BYTES)), None], false);
        assert!(statements.get(3000).is_some_and(|one| one.query().is_none()));
    }

    #[test]
    fn the_last_one_has_two_numbers() {
        let mut statements = Statements::default();
        assert!(statements.get(LAST).is_none());
        statements.insert(7, [Some("SELECT a"), None], false);
        statements.insert(8, [Some("SELECT b"), Some("SELECT")], false);
        assert_eq!(statements.get(LAST).and_then(Statement::query), Some("SELECT b"));
        statements.remove(LAST);
        assert!(statements.get(8).is_none() && statements.get(7).is_some_and(|one| one.summary().is_none()));
    }
}
