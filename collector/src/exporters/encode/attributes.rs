//! Attributes (`KeyValue`) and resources in protobuf.
//!
//! In: keys and values. Out: repeated `KeyValue` fields, lengths computed before writing.

use sidelight_protocol_parsers::Incomplete;

use super::wire::{bytes, bytes_len, key_bytes, key_fixed64, key_varint, varint, varint_len};
use crate::{model::Value, semconv::attributes::AttrValue};

/// `KeyValue.key`, `AnyValue.string_value`, `Resource.attributes`, `ArrayValue.values`.
const KEY: u8 = 1;
/// `KeyValue.value`.
const VALUE: u8 = 2;
const STRING: u8 = 1;
const BOOL: u8 = 2;
const INT: u8 = 3;
const DOUBLE: u8 = 4;
const ARRAY: u8 = 5;

/// Appends `field: KeyValue { key, value: AnyValue { .. } }` up to the `AnyValue`, which takes `len` bytes.
fn open(out: &mut Vec<u8>, field: u8, key: &str, len: usize) {
    out.push(key_bytes(field));
    varint(out, (bytes_len(key.len()) + bytes_len(len)) as u64);
    bytes(out, KEY, key.as_bytes());
    out.push(key_bytes(VALUE));
    varint(out, len as u64);
}

/// Appends a text.
///
/// Inlined where the key is a constant: its length is then one too, and its bytes are stores instead of a call.
#[inline(always)]
pub(super) fn string(out: &mut Vec<u8>, field: u8, key: &str, value: &[u8]) {
    // Nearly always every length takes one byte: key, length, key, length stand before the key and before the value.
    let (key_len, len) = (key.len(), value.len());
    if key_len + len + 6 < 128 {
        out.extend_from_slice(&[key_bytes(field), (key_len + len + 6) as u8, key_bytes(KEY), key_len as u8]);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(&[key_bytes(VALUE), len as u8 + 2, key_bytes(STRING), len as u8]);
        out.extend_from_slice(value);
    } else {
        long_string(out, field, key, value);
    }
}

#[inline(never)]
fn long_string(out: &mut Vec<u8>, field: u8, key: &str, value: &[u8]) {
    open(out, field, key, bytes_len(value.len()));
    bytes(out, STRING, value);
}

/// Appends a truth value.
pub(super) fn boolean(out: &mut Vec<u8>, field: u8, key: &str, value: bool) {
    open(out, field, key, 2);
    out.extend_from_slice(&[key_varint(BOOL), u8::from(value)]);
}

/// Appends an integer; inlined as [`string`] is.
#[inline(always)]
pub(super) fn int(out: &mut Vec<u8>, field: u8, key: &str, value: i64) {
    let value = value.cast_unsigned();
    let key_len = key.len();
    if value < 1 << 14 && key_len + 7 < 128 {
        let wide = value >= 128;
        let len = 2 + u8::from(wide);
        out.extend_from_slice(&[key_bytes(field), key_len as u8 + 4 + len, key_bytes(KEY), key_len as u8]);
        out.extend_from_slice(key.as_bytes());
        if wide {
            out.extend_from_slice(&[key_bytes(VALUE), len, key_varint(INT), value as u8 | 0x80, (value >> 7) as u8]);
        } else {
            out.extend_from_slice(&[key_bytes(VALUE), len, key_varint(INT), value as u8]);
        }
    } else {
        long_int(out, field, key, value);
    }
}

#[inline(never)]
fn long_int(out: &mut Vec<u8>, field: u8, key: &str, value: u64) {
    open(out, field, key, 1 + varint_len(value as usize));
    out.push(key_varint(INT));
    varint(out, value);
}

fn double(out: &mut Vec<u8>, field: u8, key: &str, value: f64) {
    open(out, field, key, 9);
    out.push(key_fixed64(DOUBLE));
    out.extend_from_slice(&value.to_le_bytes());
}

fn strings<'a>(out: &mut Vec<u8>, field: u8, key: &str, values: impl Iterator<Item = &'a str> + Clone) {
    let array: usize = values.clone().map(|value| bytes_len(bytes_len(value.len()))).sum();
    open(out, field, key, bytes_len(array));
    out.push(key_bytes(ARRAY));
    varint(out, array as u64);
    for value in values {
        out.push(key_bytes(KEY));
        varint(out, bytes_len(value.len()) as u64);
        bytes(out, STRING, value.as_bytes());
    }
}

/// Appends an attribute of a span.
#[inline(never)]
pub(super) fn attribute(out: &mut Vec<u8>, field: u8, key: &str, value: AttrValue<'_>) {
    match value {
        AttrValue::Str(text) => string(out, field, key, text.as_bytes()),
        AttrValue::Url(_) | AttrValue::Query(_) => {
            let mut len = 0;
            value.text(&mut |piece| len += piece.len());
            open(out, field, key, bytes_len(len));
            out.push(key_bytes(STRING));
            varint(out, len as u64);
            value.text(&mut |piece| out.extend_from_slice(piece.as_bytes()));
        }
        AttrValue::Int(value) => int(out, field, key, value),
        AttrValue::Double(value) => double(out, field, key, value),
        AttrValue::Reasons(reasons) => {
            let mut names = [""; Incomplete::ALL.len()];
            let count = names.iter_mut().zip(reasons.iter()).map(|(name, why)| *name = why.name()).count();
            strings(out, field, key, names.iter().copied().take(count));
        }
    }
}

/// Appends an attribute of a resource.
pub(super) fn value(out: &mut Vec<u8>, field: u8, key: &str, value: &Value) {
    match value {
        Value::Int(value) => int(out, field, key, *value),
        Value::Str(text) => string(out, field, key, text.as_bytes()),
        Value::StrArray(values) => strings(out, field, key, values.iter().map(String::as_str)),
    }
}
