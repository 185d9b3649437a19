//! The output format of spans.
//!
//! In: spans, one at a time, encoded at once. Out: payloads, of about a given size at most.

use sidelight_config::OutputFormat;

use super::{
    console::Console,
    encode::{Batch, TraceEncoder},
    json::JsonEncoder,
    pending::Payload,
};
use crate::model::Span;

/// One encoder and what it keeps of a payload and between payloads.
#[derive(Debug)]
pub(crate) enum Format {
    /// One readable line a span.
    Console(Console, String),
    /// One line of OTLP/JSON a payload.
    Json(JsonEncoder),
    /// `ExportTraceServiceRequest`.
    Otlp(TraceEncoder, Vec<Batch>),
}

impl Format {
    /// `color`: the output is a terminal that wants it.
    pub(crate) fn new(output: OutputFormat, color: bool) -> Self {
        match output {
            OutputFormat::Console => Self::Console(Console::new(color), String::new()),
            OutputFormat::Otlp => Self::Otlp(TraceEncoder::new(), Vec::new()),
            OutputFormat::OtlpJson => Self::Json(JsonEncoder::default()),
        }
    }

    /// Encodes a span; with it, `waiting` are gathered. Gives the payload that was full without it, or is with it.
    pub(crate) fn add(&mut self, span: &Span, waiting: u64, max_bytes: usize) -> Option<Payload> {
        let full = match self {
            Self::Console(console, text) => {
                console.line(span, text);
                text.len() >= max_bytes
            }
            Self::Json(encoder) => {
                encoder.add(span);
                encoder.len() >= max_bytes
            }
            Self::Otlp(encoder, batches) => {
                encoder.add(span, max_bytes, batches);
                return batches.pop().map(Payload::from);
            }
        };
        if full { self.finish(waiting) } else { None }
    }

    /// What is gathered, `waiting` spans; nothing for none.
    pub(crate) fn finish(&mut self, waiting: u64) -> Option<Payload> {
        let text = match self {
            Self::Console(_, text) => std::mem::take(text),
            Self::Json(encoder) => {
                let mut text = String::new();
                encoder.finish(&mut text);
                text
            }
            Self::Otlp(encoder, batches) => {
                encoder.finish(batches);
                return batches.pop().map(Payload::from);
            }
        };
        (!text.is_empty()).then(|| Payload { body: text.into(), items: waiting })
    }
}

impl From<Batch> for Payload {
    fn from(batch: Batch) -> Self {
        Self { body: batch.payload, items: batch.items as u64 }
    }
}
