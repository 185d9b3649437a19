//! What the operator asks for, as typed values.
//!
//! In: the text of one YAML file, the `OTEL_*` environment over it, command-line flags over both. Out: [`Config`], in which
//! every value is valid, or an error that names the place, what was found and what was expected. Nothing here touches the
//! kernel or the network.
//!
//! Each source becomes the same layer of optional, still unread values that remember where they stand ([`layer`]); the layers
//! are laid over each other key by key, and text becomes typed values once, in [`resolve`]. A key that means one signal
//! (`export.otlp.traces.endpoint`) beats the general one (`export.otlp.endpoint`), wherever each was given.

#![forbid(unsafe_code)]

mod env;
mod error;
mod layer;
mod model;
mod otlp;
mod print;
mod quantity;
mod resolve;
mod selector;

use std::path::{Path, PathBuf};

pub use error::{ConfigError, Problem};
use layer::{At, Layer};
pub use model::{
    Attach, Compression, Config, Database, Export, Http, Limits, Otlp, OtlpProtocol, OutputFormat, Select, Selector,
};
pub use print::{schema, to_yaml};
pub use selector::SelectorError;

/// Looks up one environment variable; tests pass a map.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the command line may say about the configuration, as typed there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`; else `SIDELIGHT_CONFIG`; else no file.
    pub config: Option<PathBuf>,
    /// `--output`
    pub output: Option<String>,
    /// `--output-file`
    pub output_file: Option<PathBuf>,
    /// `--only`; replaces the file's list.
    pub only: Vec<String>,
    /// `--except`; replaces the file's list.
    pub except: Vec<String>,
    /// `--attach`
    pub attach: Option<String>,
}

/// Reads the file that `flags` or the environment name and lays environment and flags over it.
pub fn load(flags: &Flags, env: Lookup<'_>) -> Result<Config, ConfigError> {
    let path =
        flags.config.clone().or_else(|| env("SIDELIGHT_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from));
    let Some(path) = path else {
        return from_parts(Path::new(""), "", flags, env);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => from_parts(&path, &text, flags, env),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

/// As [`load`], with the text of the file at hand; `path` is only named in messages.
pub fn from_parts(path: &Path, text: &str, flags: &Flags, env: Lookup<'_>) -> Result<Config, ConfigError> {
    let mut layer = layer::from_yaml(path, text)?;
    let mut problems = Vec::new();
    layer.overlay(env::layer(env, &mut problems));
    layer.overlay(flags_layer(flags));
    let config = resolve::resolve(layer, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError::Invalid(error::render(path, text, problems))),
    }
}

fn flags_layer(flags: &Flags) -> Layer {
    let Flags { config: _, output, output_file, only, except, attach } = flags;
    let list = |values: &[String], flag| {
        (!values.is_empty()).then(|| values.iter().map(|value| At::flag(value.clone(), flag)).collect())
    };
    let mut layer = Layer::default();
    layer.select.only = list(only, "--only");
    layer.select.except = list(except, "--except");
    layer.attach = attach.clone().map(|value| At::flag(value, "--attach"));
    layer.export.output = output.clone().map(|value| At::flag(value, "--output"));
    layer.export.output_file = output_file.as_ref().map(|value| At::flag(value.display().to_string(), "--output-file"));
    layer
}
