//! The settings of a file, as flags.

use std::{fs, path::Path};

use clap::{ArgMatches, CommandFactory as _, parser::ValueSource};

use super::Config;

/// Reads a file of settings as flags, without those that are given by flag or environment.
///
/// # Errors
/// The file cannot be read, or is not understood. The text names the line, and quotes none: it may have a secret.
pub(super) fn read_file(path: &Path, given: &ArgMatches) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let settings = text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
        format!("line {line}: {}", error.message())
    })?;
    flags_of(&settings, given)
}

fn flags_of(settings: &toml::Table, given: &ArgMatches) -> Result<Vec<String>, String> {
    let command = Config::command();
    let mut flags = Vec::new();
    for (name, value) in settings {
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(name));
        let arg = arg.filter(|arg| arg.get_id() != "config");
        let arg = arg.ok_or_else(|| format!("there is no setting {name:?}"))?;
        let source = given.value_source(arg.get_id().as_str());
        if matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        ) {
            continue;
        }
        let values = match value {
            toml::Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            match value {
                toml::Value::Boolean(true) => flags.push(format!("--{name}")),
                toml::Value::Boolean(false) => {}
                toml::Value::String(text) => flags.push(format!("--{name}={text}")),
                toml::Value::Integer(number) => flags.push(format!("--{name}={number}")),
                _ => {
                    return Err(format!(
                        "{name:?} is neither text nor number nor truth value"
                    ));
                }
            }
        }
    }
    Ok(flags)
}
