//! OTLP/JSON, one `resourceSpans` object a line, as the Collector's file exporter writes.
//!
//! In: spans. Out: a line: lowerCamelCase names, ids in hex, 64-bit integers as strings, enumerations as numbers.

use std::{fmt::Write, sync::Arc};

use sidelight_protocol_parsers::IncompleteSet;

use super::encode::{flags, kind};
use crate::{
    model::{Resource, Span, Value},
    semconv::{SCHEMA_URL, SCOPE_NAME, SCOPE_VERSION, attributes::AttrValue},
};

/// Gathers spans for a line.
#[derive(Debug, Default)]
pub struct JsonEncoder {
    /// By resource, in the order of their first spans: the spans, separated by commas.
    groups: Vec<(Arc<Resource>, String)>,
    len: usize,
}

impl JsonEncoder {
    /// Encodes a span.
    pub fn add(&mut self, span: &Span) {
        let open = self.groups.iter().rposition(|(resource, _)| Arc::ptr_eq(resource, &span.resource));
        let at = open.unwrap_or_else(|| {
            self.groups.push((Arc::clone(&span.resource), String::new()));
            self.groups.len() - 1
        });
        let Some((_, spans)) = self.groups.get_mut(at) else { return };
        let before = spans.len();
        if before > 0 {
            spans.push(',');
        }
        Json { out: spans }.span(span);
        self.len += spans.len() - before;
    }

    /// Bytes of the spans so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no spans.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Appends the line with the spans so far; nothing for none.
    pub fn finish(&mut self, out: &mut String) {
        if self.is_empty() {
            return;
        }
        let groups = std::mem::take(self).groups;
        let mut json = Json { out };
        json.raw("{\"resourceSpans\":");
        json.array(groups.iter(), |json, (resource, spans)| json.resource_spans(resource, spans));
        json.raw("}\n");
    }
}

struct Json<'a> {
    out: &'a mut String,
}

impl Json<'_> {
    fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        self.out.write_fmt(text).unwrap_or_default();
    }

    fn array<T>(&mut self, items: impl Iterator<Item = T>, mut item: impl FnMut(&mut Self, T)) {
        self.raw("[");
        for (index, one) in items.enumerate() {
            if index > 0 {
                self.raw(",");
            }
            item(self, one);
        }
        self.raw("]");
    }

    fn resource_spans(&mut self, resource: &Resource, spans: &str) {
        self.raw("{\"resource\":{\"attributes\":");
        self.array(resource.attributes.iter(), |json, (key, value)| json.resource_attribute(key, value));
        self.write(format_args!(
            "}},\"scopeSpans\":[{{\"scope\":{{\"name\":\"{SCOPE_NAME}\",\"version\":\"{SCOPE_VERSION}\"}},\"spans\":["
        ));
        self.raw(spans);
        self.write(format_args!("],\"schemaUrl\":\"{SCHEMA_URL}\"}}],\"schemaUrl\":\"{SCHEMA_URL}\"}}"));
    }

    fn span(&mut self, span: &Span) {
        self.write(format_args!("{{\"traceId\":\"{}\",\"spanId\":\"{}\"", span.trace_id, span.span_id));
        if let Some(state) = span.exchange.context.and_then(|context| context.state) {
            self.raw(",\"traceState\":\"");
            self.escaped(span.exchange.text.str(state));
            self.raw("\"");
        }
        match span.parent {
            Some(parent) => self.write(format_args!(",\"parentSpanId\":\"{parent}\"")),
            None => self.raw(",\"parentSpanId\":\"\""),
        }
        self.write(format_args!(",\"flags\":{},\"name\":\"", flags(span)));
        span.name(&mut |piece| self.escaped(piece));
        let end = span.start.0.saturating_add(span.duration);
        self.write(format_args!(
            "\",\"kind\":{},\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{end}\",\"attributes\":[",
            kind(span.kind),
            span.start.0,
        ));
        let mut first = true;
        span.visit_attributes(&mut |key, value| {
            if !first {
                self.raw(",");
            }
            first = false;
            self.attribute(key, value);
        });
        self.raw("],\"status\":{");
        if span.error().is_some() {
            self.raw("\"code\":2");
        }
        self.raw("}}");
    }

    fn key(&mut self, key: &str) {
        self.raw("{\"key\":\"");
        self.escaped(key);
        self.raw("\",\"value\":");
    }

    fn attribute(&mut self, key: &str, value: AttrValue<'_>) {
        self.key(key);
        match value {
            AttrValue::Str(_) | AttrValue::Url(_) | AttrValue::Query(_) => {
                self.raw("{\"stringValue\":\"");
                value.text(&mut |piece| self.escaped(piece));
                self.raw("\"}}");
            }
            AttrValue::Int(value) => self.write(format_args!("{{\"intValue\":\"{value}\"}}}}")),
            AttrValue::Double(value) => self.write(format_args!("{{\"doubleValue\":{value:?}}}}}")),
            AttrValue::Reasons(reasons) => self.reasons(reasons),
        }
    }

    fn reasons(&mut self, reasons: IncompleteSet) {
        self.raw("{\"arrayValue\":{\"values\":");
        self.array(reasons.iter(), |json, why| json.write(format_args!("{{\"stringValue\":\"{}\"}}", why.name())));
        self.raw("}}}");
    }

    fn resource_attribute(&mut self, key: &str, value: &Value) {
        self.key(key);
        match value {
            Value::Int(value) => self.write(format_args!("{{\"intValue\":\"{value}\"}}}}")),
            Value::Str(text) => {
                self.string_value(text);
                self.raw("}");
            }
            Value::StrArray(values) => {
                self.raw("{\"arrayValue\":{\"values\":");
                self.array(values.iter(), |json, value| json.string_value(value));
                self.raw("}}}");
            }
        }
    }

    fn string_value(&mut self, text: &str) {
        self.raw("{\"stringValue\":\"");
        self.escaped(text);
        self.raw("\"}");
    }

    /// Escapes what JSON must not hold in a string (RFC 8259, 7).
    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '"' => self.raw("\\\""),
                '\\' => self.raw("\\\\"),
                '\n' => self.raw("\\n"),
                '\r' => self.raw("\\r"),
                '\t' => self.raw("\\t"),
                '\0'..' ' => self.write(format_args!("\\u{:04x}", c as u32)),
                _ => self.out.push(c),
            }
        }
    }
}
