//! What of an exchange must be the same whatever happened to its connection: places and values, not times.

use std::fmt;

use crate::exchange::{DbSystem, Details, Exchange, Outcome, Side, Span};

/// One side's place in its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    /// Position of the first byte.
    pub first: u64,
    /// Position of the last.
    pub last: u64,
    /// How many were counted.
    pub counted: u64,
}

impl Bytes {
    fn of(side: &Side) -> Self {
        Self { first: side.first.offset, last: side.last.offset, counted: side.bytes }
    }

    /// Whether `part` is part of it.
    #[must_use]
    pub fn holds(&self, part: &Self) -> bool {
        self.first <= part.first && part.last <= self.last && part.counted <= self.counted
    }
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The request's place.
    pub request: Bytes,
    /// The response's.
    pub response: Option<Bytes>,
    /// Everything known, by name: `role`, `shape`, `outcome`, `parent`, and the details' fields.
    pub values: Vec<(&'static str, String)>,
    /// What is missing.
    pub incomplete: Vec<&'static str>,
}

impl Facts {
    /// Those of an exchange.
    #[must_use]
    pub fn of(exchange: &Exchange) -> Self {
        let text = |span: Option<Span>| span.map(|span| exchange.text.str(span).to_owned());
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        // A call streams if it has several messages: that is not known unless all were counted.
        let shaped = match exchange.details {
            Details::Rpc(rpc) => rpc.requests.is_some() && rpc.responses.is_some(),
            Details::Generic => false,
            Details::Db(_) | Details::Http(_) => true,
        };
        let mut values = vec![
            ("role", Some(format!("{:?}", exchange.role))),
            ("shape", shaped.then(|| format!("{:?}", exchange.shape))),
            ("outcome", exchange.outcome.map(|outcome| if outcome == Outcome::Ok { "ok" } else { "error" }.to_owned())),
            ("parent", exchange.context.map(|context| format!("{:02x?}", (context.trace_id, context.span_id)))),
        ];
        match exchange.details {
            Details::Generic => {}
            Details::Db(db) => values.extend([
                ("system", Some(db.system.name().to_owned())),
                ("namespace", text(db.namespace)),
                ("operation", text(db.operation)),
                ("summary", text(db.summary)),
                ("query", text(db.query)),
                ("procedure", text(db.procedure)),
                ("batch", number(db.batch.map(u64::from))),
                ("status", text(db.status)),
                ("rows", number(db.rows)),
            ]),
            Details::Http(http) => values.extend([
                ("method", text(http.method)),
                ("target", text(http.target)),
                ("version", http.version.map(|version| version.name().to_owned())),
                ("scheme", text(http.scheme)),
                ("host", text(http.host)),
                ("user_agent", text(http.user_agent)),
                ("forwarded_for", text(http.forwarded_for)),
                ("status", http.status.map(|status| status.to_string())),
                ("request_body", number(http.request_body)),
                ("response_body", number(http.response_body)),
            ]),
            Details::Rpc(rpc) => values.extend([
                ("system", Some(rpc.system.name().to_owned())),
                ("method", text(rpc.method)),
                ("authority", text(rpc.authority)),
                ("status", rpc.status.map(|status| status.to_string())),
                ("requests", number(rpc.requests)),
                ("responses", number(rpc.responses)),
            ]),
        }
        Self {
            request: Bytes::of(&exchange.request),
            response: exchange.response.as_ref().map(Bytes::of),
            values: values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            incomplete: exchange.incomplete.iter().map(crate::Incomplete::name).collect(),
        }
    }

    /// A value by its name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(one, _)| *one == name).map(|(_, value)| value.as_str())
    }

    /// Whether everything it says is true, and it says when something is missing.
    ///
    /// # Errors
    /// What is not.
    pub fn agrees(&self, truth: &Self) -> Result<(), String> {
        if !truth.request.holds(&self.request) {
            return Err("a part of another request".to_owned());
        }
        if let Some(response) = &self.response
            && !truth.response.as_ref().is_some_and(|truth| truth.holds(response))
        {
            return Err("another's response".to_owned());
        }
        if self.incomplete.is_empty() && self.response != truth.response {
            return Err("not the whole response, and it does not say so".to_owned());
        }
        // "MySQL, or one of its protocol whose server was not told apart."
        let untold = |name: &str, seen: &str, true_value: &str| {
            name == "system" && seen == DbSystem::Mysql.name() && true_value == DbSystem::Mariadb.name()
        };
        // Of a text that was not seen to its end, the beginning.
        let truncated = self.incomplete.contains(&crate::Incomplete::Truncated.name());
        let begins = |name: &str, seen: &str, true_value: &str| {
            truncated
                && matches!(name, "query" | "summary")
                && true_value.starts_with(seen.strip_suffix('?').unwrap_or(seen))
        };
        let wrong = |name: &str, seen: &str| {
            truth.value(name).is_none_or(|true_value| {
                true_value != seen && !untold(name, seen, true_value) && !begins(name, seen, true_value)
            })
        };
        match self.values.iter().find(|(name, value)| wrong(name, value)) {
            Some((name, _)) => Err(format!("a wrong {name}")),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.request.first, self.request.last)?;
        if let Some(response) = &self.response {
            write!(f, " {}..={}", response.first, response.last)?;
        }
        self.values.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))?;
        self.incomplete.iter().try_for_each(|why| write!(f, " [{why}]"))
    }
}
