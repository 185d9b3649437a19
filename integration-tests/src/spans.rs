//! OTLP/JSON lines as values a test can compare.

use std::collections::BTreeMap;

use serde_json::Value;

/// One span with the resource it stands under.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// 32 hex digits.
    pub trace_id: String,
    /// 16 hex digits.
    pub span_id: String,
    /// 16 hex digits, or empty.
    pub parent: String,
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// Unix ns.
    pub start: u64,
    /// Unix ns.
    pub end: u64,
    /// Status code of the span: 0 unset, 2 error.
    pub status: u64,
    /// Attributes; numbers as decimal text.
    pub attributes: BTreeMap<String, String>,
    /// Resource attributes.
    pub resource: BTreeMap<String, String>,
}

/// The kinds that Sidelight makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SPAN_KIND_CLIENT
    Client,
    /// SPAN_KIND_SERVER
    Server,
}

impl Span {
    /// An attribute, or "".
    pub fn get(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// `service.name`.
    pub fn service(&self) -> &str {
        self.resource.get("service.name").map_or("", String::as_str)
    }

    /// `url.path` of a server span, the path of `url.full` of a client's.
    pub fn path(&self) -> &str {
        match self.kind {
            Kind::Server => self.get("url.path"),
            Kind::Client => {
                let full = self.get("url.full");
                let after = full.split_once("://").map_or(full, |(_, rest)| rest);
                after.find('/').map_or("", |at| after[at..].split('?').next().unwrap_or(""))
            }
        }
    }

    /// Method, path and status ("" if unknown), blank-separated.
    pub fn exchange(&self) -> String {
        format!("{} {} {}", self.get("http.request.method"), self.path(), self.get("http.response.status_code"))
    }
}

/// [`Span::exchange`] of all spans of a kind, sorted.
pub fn exchanges(spans: &[Span], kind: Kind) -> Vec<String> {
    let mut all: Vec<String> = spans.iter().filter(|span| span.kind == kind).map(Span::exchange).collect();
    all.sort();
    all
}

/// Every span of every whole line.
pub fn parse(lines: &str) -> Vec<Span> {
    let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
    let mut spans = Vec::new();
    for line in whole.lines() {
        let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}"));
        for group in array(&json, "resourceSpans") {
            let resource = attributes(&group["resource"]);
            for scope in array(group, "scopeSpans") {
                spans.extend(array(scope, "spans").iter().map(|span| one(span, &resource)));
            }
        }
    }
    spans
}

fn one(span: &Value, resource: &BTreeMap<String, String>) -> Span {
    let text = |key: &str| span[key].as_str().unwrap_or_default().to_owned();
    Span {
        trace_id: text("traceId"),
        span_id: text("spanId"),
        parent: text("parentSpanId"),
        name: text("name"),
        kind: match span["kind"].as_u64() {
            Some(2) => Kind::Server,
            Some(3) => Kind::Client,
            other => panic!("span kind {other:?}"),
        },
        start: text("startTimeUnixNano").parse().unwrap(),
        end: text("endTimeUnixNano").parse().unwrap(),
        status: span["status"]["code"].as_u64().unwrap_or(0),
        attributes: attributes(span),
        resource: resource.clone(),
    }
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    array(of, "attributes")
        .iter()
        .map(|pair| {
            let value = &pair["value"];
            let text = value["stringValue"].as_str().or_else(|| value["intValue"].as_str());
            (pair["key"].as_str().unwrap().to_owned(), text.map_or_else(|| value.to_string(), str::to_owned))
        })
        .collect()
}
